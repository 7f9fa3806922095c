//! Notices to the customer, and what goes wrong with them on demand.

use serde_json::{Value, json};

use crate::support::{Customer, Provider, authorization, capture, charge, refund};

/// Callbacks are signed, come when a movement is finished, and are sent until
/// they are taken.
#[tokio::test]
async fn callbacks_are_sent_until_they_are_taken() {
    let mut customer = Customer::start(1).await;
    let provider = Provider::start_for(&customer).await;
    let fault = json!({"operation": "charge", "kind": "pending_decline", "delay_ms": 200,
        "decline_code": "expired_card"});
    provider.fault(fault).await;
    let pending = provider.done("/v1/charges", charge("r1", 100)).await;
    assert_eq!(
        (&pending["status"], &pending["decline_code"]),
        (&json!("pending"), &Value::Null)
    );

    // The customer refuses the first try and takes the second.
    let first = customer.next_body().await;
    let body = customer.next_body().await;
    assert_eq!(first, body, "the same notice");
    let notice: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&notice["type"], &notice["reference"]),
        (&json!("charge.declined"), &json!("r1"))
    );
    assert_eq!(notice["data"]["decline_code"], "expired_card");
    provider.verify().await;
}

/// A duplicated notice is the same one, as often as was asked for, and others
/// come once.
#[tokio::test]
async fn notices_are_duplicated() {
    let mut customer = Customer::start(0).await;
    let provider = Provider::start_for(&customer).await;
    provider
        .fault(
            json!({"operation": "callback", "kind": "duplicate", "copies": 2, "reference": "c1"}),
        )
        .await;
    provider.done("/v1/charges", charge("c1", 100)).await;
    let first = customer.next_body().await;
    assert_eq!(customer.next_body().await, first);
    assert_eq!(customer.next_body().await, first);
    provider.done("/v1/charges", charge("c2", 100)).await;
    provider.done("/v1/charges", charge("c3", 100)).await;
    let mut others = [customer.next_event().await.1, customer.next_event().await.1];
    others.sort();
    assert_eq!(others, ["c2", "c3"]);
    provider.verify().await;
}

/// A reordered notice comes after the next one was taken, though it is older.
#[tokio::test]
async fn notices_are_reordered() {
    let mut customer = Customer::start(0).await;
    let provider = Provider::start_for(&customer).await;
    provider
        .fault(
            json!({"operation": "callback", "kind": "reorder", "event": "charge.succeeded",
            "delay_ms": 600_000}),
        )
        .await;
    provider.done("/v1/charges", charge("c1", 100)).await;
    provider.done("/v1/refunds", refund("r1", "c1", 100)).await;
    assert_eq!(customer.next_event().await.0, "refund.succeeded");
    assert_eq!(customer.next_event().await.0, "charge.succeeded");
    provider.verify().await;
}

/// A delayed notice comes when the provider's clock has got there, and a dropped
/// one never.
#[tokio::test]
async fn notices_are_delayed_and_dropped() {
    let mut customer = Customer::start(0).await;
    let provider = Provider::start_for(&customer).await;
    provider
        .fault(json!({"operation": "callback", "kind": "delay", "delay_ms": 86_400_000}))
        .await;
    provider.done("/v1/charges", charge("delayed", 100)).await;
    provider
        .fault(json!({"operation": "callback", "kind": "drop"}))
        .await;
    provider.done("/v1/charges", charge("dropped", 100)).await;
    provider.done("/v1/charges", charge("ordinary", 100)).await;
    assert_eq!(customer.next_event().await.1, "ordinary");
    assert!(!customer.has_one());
    provider.clock(json!({"advance_seconds": 86_400})).await;
    assert_eq!(customer.next_event().await.1, "delayed");
    // What was written after it has come, so the dropped one is not to come.
    provider.done("/v1/charges", charge("last", 100)).await;
    assert_eq!(customer.next_event().await.1, "last");
    assert!(!customer.has_one());
    provider.verify().await;
}

/// What is about cards goes to an address of its own, where there is one, and nothing
/// else goes there.
#[tokio::test]
async fn cards_are_told_elsewhere() {
    let (mut customer, mut of_cards) = (Customer::start(0).await, Customer::start(0).await);
    let provider = Provider::start_for_both(&customer, &of_cards).await;
    provider
        .done("/v1/authorizations", authorization("a1", "tok_visa", 700))
        .await;
    provider
        .done("/v1/authorizations/a1/captures", capture("k1", 700))
        .await;
    provider.done("/v1/charges", charge("c1", 100)).await;
    let mut of_capture = refund("r1", "c1", 50);
    of_capture["capture_reference"] = json!("k1");
    of_capture
        .as_object_mut()
        .expect("an object")
        .remove("charge_reference");
    provider.done("/v1/refunds", of_capture).await;
    provider.done("/v1/refunds", refund("r2", "c1", 50)).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(of_cards.next_event().await.1);
    }
    told.sort();
    assert_eq!(told, ["a1", "k1", "r1"]);
    let mut others = [customer.next_event().await.1, customer.next_event().await.1];
    others.sort();
    assert_eq!(others, ["c1", "r2"]);
}
