//! A TCP proxy that can cut or stall what goes through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::fixture::redis_url;

/// What the proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything on.
    Open,
    /// Passes nothing on, and keeps what comes until it is open again.
    Stalled,
    /// Breaks connections and takes no new ones.
    Cut,
}

/// A proxy in front of Redis.
pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    stalled: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, watched) = watch::channel(Mode::Open);
        let stalled = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&stalled);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *watched.borrow() == Mode::Cut {
                    continue;
                }
                let server = TcpStream::connect(&target).await.unwrap();
                let (client_read, client_write) = client.into_split();
                let (server_read, server_write) = server.into_split();
                let count = Arc::clone(&counter);
                tokio::spawn(pass(client_read, server_write, watched.clone(), count));
                let count = Arc::clone(&counter);
                tokio::spawn(pass(server_read, client_write, watched.clone(), count));
            }
        });
        Self {
            address,
            mode,
            stalled,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    pub(crate) fn client(&self) -> redis::Client {
        // The address is the proxy's, the password the server's.
        let url = match redis_url().rsplit_once('@') {
            Some((credentials, _)) => format!("{credentials}@{}", self.address),
            None => format!("redis://{}", self.address),
        };
        redis::Client::open(url).unwrap()
    }

    /// How many bytes have been kept back so far.
    pub(crate) fn stalled_bytes(&self) -> usize {
        self.stalled.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

/// Copies one direction. What was read before a cut is lost, as on a network.
async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut mode: watch::Receiver<Mode>,
    stalled: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = mode.wait_for(|mode| *mode == Mode::Cut) => return,
        };
        let Ok(length @ 1..) = read else { return };
        if *mode.borrow() == Mode::Stalled {
            stalled.fetch_add(length, Ordering::SeqCst);
        }
        match mode.wait_for(|mode| *mode != Mode::Stalled).await {
            Ok(mode) if *mode == Mode::Open => {}
            Ok(_) | Err(_) => return,
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
