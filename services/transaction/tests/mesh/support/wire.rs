//! A wire between two processes that a test can cut.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What the wire does with what is sent over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything arrives.
    Whole,
    /// Connections are closed as soon as they are made, and those that are open.
    Cut,
    /// Connections are refused: nobody listens.
    Refused,
    /// What is asked arrives; what is answered does not.
    LosesAnswers,
}

/// The wire. A change of mode closes the connections that are open, except that
/// answers are lost on them from the change on.
pub(crate) struct Wire {
    /// Where it is entered.
    pub(crate) url: String,
    mode: watch::Sender<Mode>,
    _running: DropGuard,
}

impl Wire {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let (mode, watching) = watch::channel(Mode::Whole);
        let shutdown = CancellationToken::new();
        let running = shutdown.clone();
        tokio::spawn(running.run_until_cancelled_owned(listen(listener, address, to, watching)));
        Self {
            url: format!("http://{address}"),
            mode,
            _running: shutdown.drop_guard(),
        }
    }

    /// Changes what the wire does.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

/// Accepts connections; while the wire refuses them, its port is closed.
async fn listen(
    listener: TcpListener,
    address: SocketAddr,
    to: SocketAddr,
    mut mode: watch::Receiver<Mode>,
) {
    let mut listener = Some(listener);
    loop {
        if *mode.borrow_and_update() == Mode::Refused {
            listener = None;
        } else if listener.is_none() {
            listener = Some(
                TcpListener::bind(address)
                    .await
                    .expect("the port is still free"),
            );
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            connection = accepted => if let Ok((near, _)) = connection {
                tokio::spawn(carry(near, to, mode.clone()));
            },
            changed = mode.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn carry(near: TcpStream, to: SocketAddr, mut mode: watch::Receiver<Mode>) {
    if *mode.borrow_and_update() == Mode::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let (near_reads, near_writes) = near.into_split();
    let (far_reads, far_writes) = far.into_split();
    let answers = mode.clone();
    tokio::select! {
        () = copy(near_reads, far_writes, None) => {}
        () = copy(far_reads, near_writes, Some(answers)) => {}
        () = until_cut(&mut mode) => {}
    }
}

/// Waits until the connection is to be closed: when the wire is cut, and when
/// it is whole again after answers were lost.
async fn until_cut(mode: &mut watch::Receiver<Mode>) {
    while mode.changed().await.is_ok() {
        if *mode.borrow_and_update() != Mode::LosesAnswers {
            return;
        }
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    answers: Option<watch::Receiver<Mode>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let is_lost = answers
            .as_ref()
            .is_some_and(|mode| *mode.borrow() == Mode::LosesAnswers);
        if !is_lost && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
