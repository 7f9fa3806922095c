//! What travels beside the messages, and what is written down of it.

use serde_json::Value;

use crate::support::Edge;

const WALLETS: &str = "/api/v1/wallet/wallets";

/// A caller's request id is kept, reaches the service, and comes back; without
/// one there is one all the same, on refusals too.
#[tokio::test]
async fn requests_have_ids() {
    let edge = Edge::start().await;
    let call = edge.rest.get(WALLETS).header("x-request-id", "my-id-1");
    let answer = call.token(&edge.token("usr_1")).send().await;
    assert_eq!(answer.header("x-request-id"), Some("my-id-1"));
    assert_eq!(answer.seen("x-request-id"), Some("my-id-1"));
    let answer = edge.rest.get(WALLETS).send().await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
}

/// The idempotency key goes in as metadata, and its echo comes out as a header.
#[tokio::test]
async fn metadata_are_headers() {
    let edge = Edge::start().await;
    let call = edge.rest.get(WALLETS).token(&edge.token("usr_1"));
    let answer = call
        .header("Idempotency-Key", "again")
        .header("traceparent", "00-a-b-01");
    let answer = answer.send().await;
    assert_eq!(answer.seen("idempotency-key"), Some("again"));
    assert_eq!(answer.seen("traceparent"), Some("00-a-b-01"));
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
}

/// Answers are kept by nobody, and tell nothing of the inside.
#[tokio::test]
async fn answers_are_hardened() {
    let edge = Edge::start().await;
    let good = edge
        .rest
        .get(WALLETS)
        .token(&edge.token("usr_1"))
        .send()
        .await;
    let bad = edge.rest.get("/nothing").send().await;
    for answer in [good, bad] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("server"), Some("bursar"));
        let names = answer.headers.keys().map(|name| name.as_str().to_owned());
        let inner: Vec<String> = names.filter(|name| name.starts_with("x-envoy-")).collect();
        assert!(inner.is_empty(), "{inner:?}");
    }
}

/// The access log says who called what and how it ended, and holds no token
/// and no query.
#[tokio::test]
async fn requests_are_logged_without_secrets() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let path = format!("{WALLETS}?page_token=secret-of-mine");
    let call = edge.rest.get(&path).header("x-request-id", "logged-1");
    assert_eq!(call.token(&token).send().await.status, 200);
    let log = edge.access_log_with("logged-1").await;
    let line = log.lines().find(|line| line.contains("logged-1")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["method"], "GET");
    assert_eq!(line["path"], WALLETS);
    assert_eq!(line["route"], "/bursar.wallet.v1.WalletService/ListWallets");
    assert_eq!(line["status"], 200);
    assert_eq!(line["grpc_status"], "OK");
    assert_eq!(line["subject"], "usr_1");
    assert!(line["duration_ms"].is_u64());
    for secret in [token.as_str(), "secret-of-mine", "Bearer"] {
        assert!(!log.contains(secret), "{log}");
    }
}
