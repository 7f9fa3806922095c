//! Refunds.

use serde_json::{Value, json};

use crate::support::{Customer, Provider, charge, refund, refusal};

/// A charge is refunded in parts until nothing is left, a reference means one
/// refund, and the provider owes the customer less.
#[tokio::test]
async fn a_charge_is_refunded_in_parts() {
    let provider = Provider::start(&[("BURSAR_SANDBOX_FEE_BASIS_POINTS", "200")]).await;
    provider.done("/v1/charges", charge("c1", 10_000)).await;
    let first = provider
        .done("/v1/refunds", refund("r1", "c1", 3_000))
        .await;
    assert_eq!(first["object"], "refund");
    assert_eq!(first["status"], "succeeded");
    assert_eq!(first["charge_reference"], "c1");
    assert_eq!(
        (&first["currency"], &first["fee_minor"]),
        (&json!("EUR"), &json!(0))
    );
    assert!(first["id"].as_str().is_some_and(|id| id.starts_with("re_")));

    let again = provider
        .post("/v1/refunds", refund("r1", "c1", 3_000))
        .await;
    assert_eq!(again, (200, first.clone()));
    assert_eq!(provider.get("/v1/refunds/r1").await, (200, first));
    for other in [
        refund("r1", "c1", 3_001),
        refund("r1", "c2", 3_000),
        json!({"reference": "r1", "capture_reference": "c1", "amount_minor": 3_000}),
        json!({"reference": "r1", "charge_reference": "c1", "amount_minor": 3_000,
            "currency": "USD"}),
    ] {
        let refused = provider.post("/v1/refunds", other.clone()).await;
        assert_eq!(refusal(&refused), (409, "reference_reused"), "{other}");
    }

    let refused = provider
        .post("/v1/refunds", refund("r2", "c1", 7_001))
        .await;
    assert_eq!(refusal(&refused), (409, "refund_exceeds_charge"));
    assert_eq!(
        provider.get("/v1/refunds/r2").await.0,
        404,
        "nothing is recorded"
    );
    provider
        .done("/v1/refunds", refund("r2", "c1", 7_000))
        .await;
    let refused = provider.post("/v1/refunds", refund("r3", "c1", 1)).await;
    assert_eq!(refusal(&refused), (409, "refund_exceeds_charge"));
    let (_, charge) = provider.get("/v1/charges/c1").await;
    assert_eq!(charge["refunded_minor"], 10_000);

    // The fee of what was refunded is not given back.
    let balance = provider.balance("EUR").await;
    let part = |name: &str| balance[name].as_i64().expect("a number");
    assert_eq!(part("charged_minor"), 10_000);
    assert_eq!(part("refunded_minor"), 10_000);
    assert_eq!(part("fees_minor"), 200);
    assert_eq!(part("balance_minor"), -200);
    provider.verify().await;
}

/// Only what succeeded is refunded, in its currency, and only by requests that
/// make sense and are in time.
#[tokio::test]
async fn what_cannot_be_refunded_is_refused() {
    let provider = Provider::start(&[]).await;
    provider
        .done("/v1/charges", charge("declined", 99_901))
        .await;
    provider
        .fault(json!({"operation": "charge", "kind": "pending", "delay_ms": 600_000}))
        .await;
    provider.done("/v1/charges", charge("pending", 100)).await;
    provider.done("/v1/charges", charge("good", 100)).await;
    let answer = async |body: Value| provider.post("/v1/refunds", body).await;

    let refused = answer(refund("r", "none", 1)).await;
    assert_eq!(refusal(&refused), (404, "charge_not_found"));
    for charge in ["declined", "pending"] {
        let refused = answer(refund("r", charge, 1)).await;
        assert_eq!(refusal(&refused), (409, "not_refundable"), "{charge}");
    }
    let mut other = refund("r", "good", 1);
    other["currency"] = json!("USD");
    assert_eq!(refusal(&answer(other).await), (409, "currency_mismatch"));
    let mut late = refund("r", "good", 1);
    late["valid_until"] = json!("2020-01-01T00:00:00Z");
    assert_eq!(refusal(&answer(late).await), (410, "expired"));
    let neither = json!({"reference": "r", "amount_minor": 1});
    let both = json!({"reference": "r", "amount_minor": 1, "charge_reference": "good",
        "capture_reference": "good"});
    for body in [
        neither,
        both,
        refund("", "good", 1),
        refund("r", "", 1),
        refund("r", "good", 0),
        refund("r", "good", -1),
    ] {
        let refused = answer(body.clone()).await;
        assert_eq!(refusal(&refused), (400, "field_invalid"), "{body}");
    }
    assert_eq!(provider.get("/v1/refunds/r").await.0, 404);
    provider.verify().await;
}

/// Refunds that come at once never take more than there is, and the same one is
/// made once.
#[tokio::test]
async fn concurrent_refunds_do_not_exceed() {
    let provider = Provider::start(&[]).await;
    provider.done("/v1/charges", charge("c1", 100)).await;
    let calls = (0..20).map(|number| {
        // Each reference comes twice.
        let body = refund(&format!("r{}", number / 2), "c1", 30);
        provider.post("/v1/refunds", body)
    });
    let answers = futures::future::join_all(calls).await;
    let count = |wanted: u16| answers.iter().filter(|answer| answer.0 == wanted).count();
    assert_eq!((count(201), count(200), count(409)), (3, 3, 14));
    let (_, charge) = provider.get("/v1/charges/c1").await;
    assert_eq!(charge["refunded_minor"], 90);
    provider.verify().await;
}

/// Faults hit refunds as they hit charges, and a refund that fails, at once or
/// later, leaves the charge to be refunded.
#[tokio::test]
async fn faults_hit_refunds() {
    let mut customer = Customer::start(0).await;
    let provider = Provider::start_for(&customer).await;
    provider.done("/v1/charges", charge("c1", 100)).await;
    assert_eq!(
        customer.next_event().await,
        ("charge.succeeded".to_owned(), "c1".to_owned())
    );

    provider
        .fault(json!({"operation": "refund", "kind": "timeout"}))
        .await;
    let silent = provider
        .unanswered("/v1/refunds", &refund("r1", "c1", 100))
        .await;
    assert!(silent.is_timeout());
    let unknown = provider.get("/v1/refunds/r1").await;
    assert_eq!(refusal(&unknown), (404, "not_found"));

    let decline =
        json!({"operation": "refund", "kind": "decline", "decline_code": "account_closed"});
    provider.fault(decline).await;
    let failed = provider.done("/v1/refunds", refund("r1", "c1", 100)).await;
    assert_eq!(
        (&failed["status"], &failed["decline_code"]),
        (&json!("declined"), &json!("account_closed"))
    );
    assert_eq!(
        customer.next_event().await,
        ("refund.failed".to_owned(), "r1".to_owned())
    );

    let later = json!({"operation": "refund", "kind": "pending_decline", "delay_ms": 300_000});
    provider.fault(later).await;
    let pending = provider.done("/v1/refunds", refund("r2", "c1", 100)).await;
    assert_eq!(pending["status"], "pending");
    let refused = provider.post("/v1/refunds", refund("r3", "c1", 1)).await;
    assert_eq!(
        refusal(&refused),
        (409, "refund_exceeds_charge"),
        "it is counted while it is pending"
    );
    provider.clock(json!({"advance_seconds": 300})).await;
    let (_, failed) = provider.get("/v1/refunds/r2").await;
    assert_eq!(failed["status"], "declined");
    assert_eq!(
        customer.next_event().await,
        ("refund.failed".to_owned(), "r2".to_owned())
    );

    provider
        .fault(json!({"operation": "refund", "kind": "lost_response"}))
        .await;
    provider
        .unanswered("/v1/refunds", &refund("r3", "c1", 100))
        .await;
    let (status, found) = provider.post("/v1/refunds", refund("r3", "c1", 100)).await;
    assert_eq!((status, &found["status"]), (200, &json!("succeeded")));
    let notice = customer.next().await;
    assert_eq!(notice["type"], "refund.succeeded");
    assert_eq!(notice["data"], found, "a notice tells what the API tells");
    provider.verify().await;
}
