//! Money calls may be sent again: one effect, one answer.

use futures::future::join_all;
use serde_json::json;

use crate::support::{Edge, eur, new_key, send, transfer};

const TRANSFERS: &str = "/api/v1/transactions/transfers";

/// The same key and body answer as they first did, with a header that says so.
#[tokio::test]
async fn a_replay_answers_as_the_first_time() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let (from, to) = (
        edge.funded(&ada, 1_000).await,
        edge.wallet(&ada, "EUR").await,
    );
    let (key, body) = (new_key(), transfer(&from, &to, 300));
    let first = edge.pay(TRANSFERS, &ada.token, &key, &body).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let again = edge.pay(TRANSFERS, &ada.token, &key, &body).await;
    let replayed = again
        .headers
        .get("idempotency-replayed")
        .and_then(|value| value.to_str().ok());
    assert_eq!(replayed, Some("true"));
    assert_eq!(first.ok(), again.ok());
    assert_eq!(edge.available(&ada, &from).await, 700);
}

/// The same key with another body is refused, and nothing moves.
#[tokio::test]
async fn a_reused_key_is_refused() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let (from, to) = (
        edge.funded(&ada, 1_000).await,
        edge.wallet(&ada, "EUR").await,
    );
    let key = new_key();
    edge.pay(TRANSFERS, &ada.token, &key, &transfer(&from, &to, 300))
        .await
        .ok();
    let refused = edge
        .pay(TRANSFERS, &ada.token, &key, &transfer(&from, &to, 301))
        .await;
    assert_eq!(
        (refused.status, refused.reason()),
        (409, "IDEMPOTENCY_KEY_REUSED")
    );
    assert_eq!(edge.available(&ada, &from).await, 700);
}

/// Another user's key of the same text is another key.
#[tokio::test]
async fn keys_belong_to_their_users() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let key = new_key();
    for person in [&ada, &bob] {
        let (from, to) = (
            edge.funded(person, 100).await,
            edge.wallet(person, "EUR").await,
        );
        edge.pay(TRANSFERS, &person.token, &key, &transfer(&from, &to, 40))
            .await
            .ok();
        assert_eq!(edge.available(person, &to).await, 40);
    }
}

/// A business failure is an answer too: the replay gives the same error with
/// the same transaction, even after money has come.
#[tokio::test]
async fn a_refusal_is_replayed() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let (from, to) = (edge.funded(&ada, 100).await, edge.wallet(&ada, "EUR").await);
    let (key, body) = (new_key(), transfer(&from, &to, 500));
    let first = edge.pay(TRANSFERS, &ada.token, &key, &body).await;
    assert_eq!((first.status, first.reason()), (400, "INSUFFICIENT_FUNDS"));
    assert_eq!(first.json["code"], 9);
    let id = &first.detail("google.rpc.ErrorInfo")["metadata"]["transaction_id"];
    assert!(
        id.as_str().is_some_and(|id| id.starts_with("txn_")),
        "{:#}",
        first.json
    );

    let body_more = json!({"wallet_id": from, "amount": eur(10_000), "provider": "sandbox"});
    edge.pay(
        "/api/v1/transactions/deposits",
        &ada.token,
        &new_key(),
        &body_more,
    )
    .await
    .ok();
    let again = edge.pay(TRANSFERS, &ada.token, &key, &body).await;
    assert_eq!(again.status, first.status);
    assert_eq!(again.json, first.json);
    assert!(again.headers.contains_key("idempotency-replayed"));
}

/// Every money call needs a key.
#[tokio::test]
async fn money_calls_need_a_key() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet = edge.wallet(&ada, "EUR").await;
    let payment = json!({"wallet_id": wallet, "amount": eur(1), "provider": "sandbox"});
    let calls = [
        (TRANSFERS, transfer(&wallet, &wallet, 1)),
        ("/api/v1/transactions/deposits", payment.clone()),
        ("/api/v1/transactions/withdrawals", payment),
    ];
    for (path, body) in calls {
        let refused = edge.post(path, &ada.token, &body).await;
        assert_eq!(
            (refused.status, refused.reason()),
            (400, "IDEMPOTENCY_KEY_REQUIRED"),
            "{path}"
        );
        let refused = edge.pay(path, &ada.token, &"x".repeat(129), &body).await;
        assert_eq!(
            (refused.status, refused.reason()),
            (400, "IDEMPOTENCY_KEY_INVALID"),
            "{path}"
        );
    }
}

/// Fifty duplicates at once have one effect, and all that are answered are
/// answered alike.
#[tokio::test]
async fn fifty_duplicates_have_one_effect() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let (from, to) = (
        edge.funded(&ada, 1_000).await,
        edge.wallet(&ada, "EUR").await,
    );
    let (key, body) = (new_key(), transfer(&from, &to, 10));
    let send_one = async || {
        // A duplicate of a running request is told to try again.
        loop {
            let request = edge.request("POST", TRANSFERS).bearer_auth(&ada.token);
            let answer = send(request.header("idempotency-key", &key).json(&body)).await;
            if answer.reason() != "IDEMPOTENCY_KEY_IN_USE" {
                return answer;
            }
        }
    };
    let answers = join_all((0..50).map(|_| send_one())).await;
    let ids: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.ok()["transaction"]["transaction_id"].clone())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(edge.available(&ada, &from).await, 990);
    assert_eq!(edge.available(&ada, &to).await, 10);
}
