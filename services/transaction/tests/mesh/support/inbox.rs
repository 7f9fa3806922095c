//! Where the sandbox's callbacks go in a test, which passes them on itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::CALLBACK_SECRET;

/// A callback as the sandbox sent it.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) signature: String,
    pub(crate) body: String,
}

/// A callback of the test's own, signed as the sandbox's documentation says.
pub(crate) fn sign(body: &str) -> Notice {
    let seconds = time::OffsetDateTime::now_utc().unix_timestamp();
    let mut mac = Hmac::<Sha256>::new_from_slice(CALLBACK_SECRET.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.{body}").as_bytes());
    let code = hex::encode(mac.finalize().into_bytes());
    Notice {
        signature: format!("t={seconds},v1={code}"),
        body: body.to_owned(),
    }
}

/// Takes every callback and keeps it.
pub(crate) struct Inbox {
    pub(crate) url: String,
    notices: Arc<Mutex<mpsc::UnboundedReceiver<Notice>>>,
    _running: DropGuard,
}

impl Inbox {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let (sender, notices) = mpsc::unbounded_channel();
        let router = Router::new().route("/", post(take)).with_state(sender);
        let shutdown = CancellationToken::new();
        let running = shutdown.clone();
        tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(running.cancelled_owned())
                .await
        });
        Self {
            url: format!("http://{address}/"),
            notices: Arc::new(Mutex::new(notices)),
            _running: shutdown.drop_guard(),
        }
    }

    /// The next callback, whatever it is about.
    pub(crate) async fn next(&self) -> Notice {
        let mut notices = self.notices.lock().await;
        let next = notices.recv().await;
        next.expect("the inbox runs as long as the test")
    }

    /// The next callback about a reference; others before it are dropped.
    pub(crate) async fn about(&self, reference: &str) -> Notice {
        loop {
            let notice = self.next().await;
            if notice.body.contains(reference) {
                return notice;
            }
        }
    }
}

async fn take(
    State(sender): State<mpsc::UnboundedSender<Notice>>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let signature = headers
        .get("sandbox-signature")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    match sender.send(Notice { signature, body }) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::GONE,
    }
}
