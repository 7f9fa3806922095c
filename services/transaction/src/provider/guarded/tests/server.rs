//! A provider's HTTP server that can be made to misbehave, and that remembers
//! everything that arrived.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;

use super::super::super::Order;

/// What the server does with a request that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It does it and says so; it knows of no earlier one.
    Answers,
    /// It does nothing, and answers with a status.
    Fails(u16),
    /// It never answers.
    Hangs,
    /// It never answers requests to act, and questions it does.
    HangsActing,
    /// It closes the connection.
    HangsUp,
    /// It is not there: connections are refused.
    Refuses,
}

/// The server. It speaks just enough HTTP: one request a connection.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    listening: AsyncMutex<Option<JoinHandle<()>>>,
}

struct Shared {
    mode: Mode,
    requests: usize,
    posted: HashMap<String, usize>,
    turned_away: HashSet<String>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Mutex::new(Shared {
            mode: Mode::Answers,
            requests: 0,
            posted: HashMap::new(),
            turned_away: HashSet::new(),
        }));
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            listening: AsyncMutex::new(Some(listening)),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what it does from the next request on.
    pub(super) async fn set(&self, mode: Mode) {
        let mut listening = self.listening.lock().await;
        self.shared().mode = mode;
        if mode == Mode::Refuses {
            if let Some(task) = listening.take() {
                task.abort();
                // The port is closed once the task is gone.
                task.await.expect_err("it was aborted");
            }
        } else if listening.is_none() {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseaddr(true).expect("an option");
            socket.bind(self.address).expect("the port is still free");
            let listener = socket.listen(1024).expect("it is bound");
            *listening = Some(tokio::spawn(listen(listener, Arc::clone(&self.shared))));
        }
    }

    /// How many requests have arrived.
    pub(super) fn requests(&self) -> usize {
        self.shared().requests
    }

    /// Waits until so many requests have arrived.
    pub(super) async fn until_requests(&self, count: usize) {
        while self.requests() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How often an order has arrived.
    pub(super) fn posted(&self, order: &Order) -> usize {
        let reference = order.reference.to_string();
        self.shared().posted.get(&reference).copied().unwrap_or(0)
    }

    /// The orders that were turned away unread, by 401, 403, 410 or 429.
    pub(super) fn turned_away(&self) -> HashSet<String> {
        self.shared().turned_away.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no test panics while it looks")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = self.listening.get_mut().take() {
            task.abort();
        }
    }
}

async fn listen(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(serve(connection, Arc::clone(&shared)));
    }
}

/// Takes one request in and answers it as the mode says.
async fn serve(mut connection: TcpStream, shared: Arc<Mutex<Shared>>) {
    let Some((head, body)) = receive(&mut connection).await else {
        return;
    };
    let is_post = head.starts_with("POST");
    let (mode, reference) = {
        let mut shared = shared.lock().expect("no test panics while it looks");
        shared.requests += 1;
        let form: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let reference = form["reference"].as_str().unwrap_or_default().to_owned();
        if is_post {
            *shared.posted.entry(reference.clone()).or_default() += 1;
            if matches!(shared.mode, Mode::Fails(401 | 403 | 410 | 429)) {
                shared.turned_away.insert(reference.clone());
            }
        }
        (shared.mode, reference)
    };
    let (status, body) = match mode {
        Mode::Hangs => return std::future::pending().await,
        Mode::HangsActing if is_post => return std::future::pending().await,
        Mode::HangsUp | Mode::Refuses => return,
        Mode::Fails(status) => (status, String::from("{}")),
        Mode::Answers | Mode::HangsActing if is_post => (
            201,
            format!(
                r#"{{"id":"ch_1","reference":"{reference}","amount_minor":100,"currency":"EUR","status":"succeeded","decline_code":null}}"#
            ),
        ),
        Mode::Answers | Mode::HangsActing => (404, r#"{"error":{"code":"not_found"}}"#.to_owned()),
    };
    let answer = format!(
        "HTTP/1.1 {status} status\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // A caller who has hung up does not read it.
    let _ = connection.write_all(answer.as_bytes()).await;
}

/// The head and the body of a request; `None` when it did not arrive whole.
async fn receive(connection: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse().unwrap_or(0));
            let body = &received[end + 4..];
            if body.len() >= length {
                let is_post = received.starts_with(b"POST");
                let head = if is_post { "POST" } else { "GET" };
                return Some((head.to_owned(), body.to_vec()));
            }
        }
        let read = connection.read(&mut buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        received.extend_from_slice(&buffer[..read]);
    }
}
