//! The rate limits, on a mesh of their own that has them switched on.

use bursar_devmesh::{Mesh, MeshOptions};
use serde_json::json;

use crate::support::{Answer, Edge, new_key, send};

/// Calls until one is refused for its rate; returns how many were not, and the refusal.
async fn until_limited(at_most: usize, call: impl AsyncFn() -> Answer) -> (usize, Answer) {
    for calls in 0..=at_most {
        let answer = call().await;
        if answer.status == 429 {
            return (calls, answer);
        }
    }
    panic!("{at_most} calls were not limited");
}

fn assert_limited(answer: &Answer) {
    assert_eq!(answer.reason(), "RATE_LIMITED", "{:#}", answer.json);
    assert_eq!(answer.json["code"], 8);
    for header in [
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ] {
        assert!(
            answer.headers.contains_key(header),
            "{header} is missing: {:?}",
            answer.headers
        );
    }
    let delay = &answer.detail("google.rpc.RetryInfo")["retry_delay"];
    assert!(delay.is_string(), "{:#}", answer.json);
}

/// Each class has its own numbers, and each user an allowance of their own.
/// Buckets refill while the test runs, so a little more than the number may pass.
#[tokio::test]
async fn each_class_is_limited_by_its_numbers() {
    let options = MeshOptions {
        rate_limits: true,
        ..MeshOptions::whole()
    };
    let mesh = Mesh::start(options, |_| {})
        .await
        .expect("a mesh with limits");
    let edge = Edge::of(&mesh);
    let (ada, bob) = (edge.person().await, edge.person().await);

    let me = async || edge.get("/api/v1/identity/me", &ada.token).await;
    let (calls, refused) = until_limited(130, me).await;
    assert!(
        (95..=130).contains(&calls),
        "{calls} protected calls passed"
    );
    assert_limited(&refused);
    edge.get("/api/v1/identity/me", &bob.token).await.ok();

    let body = json!({
        "wallet_id": format!("wal_{}", uuid::Uuid::now_v7()),
        "amount": {"currency_code": "EUR", "minor_units": "1"},
        "provider": "sandbox",
    });
    let withdraw = async || {
        edge.pay(
            "/api/v1/transactions/withdrawals",
            &bob.token,
            &new_key(),
            &body,
        )
        .await
    };
    let (calls, refused) = until_limited(15, withdraw).await;
    assert!((10..=15).contains(&calls), "{calls} withdrawals passed");
    assert_limited(&refused);

    // Registering and logging in drew four calls from the address's allowance.
    let login = json!({"email": "nobody@example.com", "password": "wrong password"});
    let try_login =
        async || send(edge.request("POST", "/api/v1/identity/login").json(&login)).await;
    let (calls, refused) = until_limited(25, try_login).await;
    assert!((14..=25).contains(&calls), "{calls} public calls passed");
    assert_limited(&refused);
    tokio::task::spawn_blocking(move || mesh.stop())
        .await
        .expect("joined")
        .expect("stopped");
}
