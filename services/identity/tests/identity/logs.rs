//! Nothing secret or personal reaches a log.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use bursar_contracts::identity::v1::{IssueServiceTokenRequest, RegisterRequest};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{House, client, get_me, login, refresh, register};

/// All that the process has logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no writer panics")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Captures the logs of the process, more finely than any deployment logs.
fn capture() -> &'static Captured {
    static CAPTURED: OnceLock<Captured> = OnceLock::new();
    CAPTURED.get_or_init(|| {
        let captured = Captured::default();
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("debug,h2=off,hyper_util=off"))
            .with_writer(captured.clone())
            .init();
        captured
    })
}

/// Right and wrong passwords, tokens, client secrets, addresses and names: none
/// of them is in the logs, though the logs tell of the calls.
#[tokio::test]
async fn logs_have_no_secrets() {
    let captured = capture();
    let house = House::new().await;
    let service = house
        .start(&[
            ("BURSAR_SERVICE_ACCOUNTS", "wallet=zebra-client-secret"),
            ("BURSAR_BOOTSTRAP_ADMIN_EMAIL", "zebra-admin@example.com"),
            ("BURSAR_BOOTSTRAP_ADMIN_PASSWORD", "zebra-admin-password"),
        ])
        .await;
    let client = client(&service);
    let message = RegisterRequest {
        email: "zebra-user@example.com".to_owned(),
        password: "zebra-user-password".to_owned(),
        display_name: "Zebra Name".to_owned(),
    };
    for _ in 0..2 {
        let _ = register(&client, message.clone()).await;
    }
    let tokens = login(&client, &message.email, &message.password)
        .await
        .expect("right");
    let _ = login(&client, &message.email, "zebra-wrong-password").await;
    get_me(&client, &tokens.access_token).await.expect("good");
    let next = refresh(&client, &tokens.refresh_token).await.expect("live");
    refresh(&client, &next.refresh_token).await.expect("live");
    let _ = refresh(&client, &tokens.refresh_token).await;
    for secret in ["zebra-client-secret", "zebra-wrong-secret"] {
        let message = IssueServiceTokenRequest {
            client_id: "wallet".to_owned(),
            client_secret: secret.to_owned(),
        };
        let _ = client.clone().issue_service_token(message).await;
    }
    service.stop().await;

    let logs =
        String::from_utf8_lossy(&captured.0.lock().expect("no writer panics")).to_lowercase();
    assert!(
        logs.contains("a refresh token was used twice"),
        "the logs are captured"
    );
    for secret in [
        "zebra",
        &house.key_encryption_key,
        &tokens.access_token,
        &tokens.refresh_token,
        &next.refresh_token,
    ] {
        assert!(
            !logs.contains(&secret.to_lowercase()),
            "{secret} is in the logs"
        );
    }
}
