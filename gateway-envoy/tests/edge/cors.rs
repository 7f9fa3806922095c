//! Browser pages.

use crate::support::{Answer, Call, Edge};

const ORIGIN: &str = "https://app.example.com";
const ALLOWED: &str = "access-control-allow-origin";

/// What a browser asks before it sends the call itself.
fn preflight(edge: &Edge, path: &str, method: &str, origin: &str) -> Call {
    edge.rest
        .call("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header(
            "access-control-request-headers",
            "authorization,idempotency-key",
        )
}

fn list(answer: &Answer, name: &str) -> Vec<String> {
    let value = answer.header(name).unwrap_or_default();
    value
        .split(',')
        .map(|item| item.trim().to_owned())
        .collect()
}

/// A preflight needs no token and passes for REST paths, with variables and
/// without, and for gRPC-Web.
#[tokio::test]
async fn preflights_are_answered() {
    let edge = Edge::start_with(|_| {}).await;
    for (method, path) in [
        ("GET", "/api/v1/wallet/wallets/wal_1/entries"),
        ("POST", "/api/v1/transactions/transfers"),
        ("PUT", "/api/v1/wallet/wallets/wal_1/credit-limit"),
        ("POST", "/api/v1/wallet/holds/hld_1:capture"),
        ("DELETE", "/api/v1/identity/sessions/ses_1"),
        ("POST", "/bursar.wallet.v1.WalletService/GetWallet"),
    ] {
        let answer = preflight(&edge, path, method, ORIGIN).send().await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.header(ALLOWED), Some(ORIGIN), "{path}");
        assert!(list(&answer, "access-control-allow-methods").contains(&method.to_owned()));
        let headers = list(&answer, "access-control-allow-headers");
        for wanted in [
            "authorization",
            "idempotency-key",
            "content-type",
            "x-grpc-web",
        ] {
            assert!(headers.contains(&wanted.to_owned()), "{wanted}");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

/// Another page's preflight gets no permission.
#[tokio::test]
async fn other_origins_are_not_allowed() {
    let edge = Edge::start_with(|_| {}).await;
    for origin in ["https://evil.example.com", "http://app.example.com", "null"] {
        let path = "/api/v1/transactions/transfers";
        let answer = preflight(&edge, path, "POST", origin).send().await;
        assert_eq!(answer.header(ALLOWED), None, "{origin}: {answer:?}");
    }
}

/// A page reads what it needs of an answer, of a refusal too.
#[tokio::test]
async fn answers_expose_their_headers() {
    let edge = Edge::start_with(|_| {}).await;
    let call = || {
        edge.rest
            .get("/api/v1/wallet/wallets")
            .header("origin", ORIGIN)
    };
    for answer in [
        call().token(&edge.token("usr_1")).send().await,
        call().send().await,
    ] {
        assert_eq!(answer.header(ALLOWED), Some(ORIGIN), "{answer:?}");
        let exposed = list(&answer, "access-control-expose-headers");
        for wanted in [
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "idempotency-replayed",
            "retry-after",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "x-request-id",
        ] {
            assert!(exposed.contains(&wanted.to_owned()), "{wanted}");
        }
    }
}
