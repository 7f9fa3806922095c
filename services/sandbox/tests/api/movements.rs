//! Charges and payouts: what a reference means, lists, and what is refused.

use reqwest::Method;
use serde_json::json;

use crate::support::{API_KEY, Provider, charge};

/// A reference means one movement for ever: the same request is answered with
/// it, another one is refused, and the two kinds do not meet.
#[tokio::test]
async fn a_reference_means_one_movement() {
    let provider = Provider::start(&[]).await;
    let (status, first) = provider.post("/v1/charges", charge("r1", 100)).await;
    assert_eq!(status, 201);
    assert_eq!(
        (&first["status"], &first["object"]),
        (&json!("succeeded"), &json!("charge"))
    );
    assert_eq!(
        provider.post("/v1/charges", charge("r1", 100)).await,
        (200, first.clone())
    );
    let (status, refused) = provider.post("/v1/charges", charge("r1", 101)).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("reference_reused"))
    );
    assert_eq!(provider.get("/v1/charges/r1").await, (200, first));
    let (status, refused) = provider.get("/v1/payouts/r1").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("not_found"))
    );
    let (status, payout) = provider.post("/v1/payouts", charge("r1", 7)).await;
    assert_eq!((status, &payout["object"]), (201, &json!("payout")));
    provider.verify().await;
}

/// A request that comes after its time has no effect, unless it is in the books.
#[tokio::test]
async fn late_requests_have_no_effect() {
    let provider = Provider::start(&[]).await;
    let until = |reference, valid_until| {
        let mut body = charge(reference, 100);
        body["valid_until"] = json!(valid_until);
        body
    };
    let (status, late) = provider
        .post("/v1/charges", until("r1", "2020-01-01T00:00:00Z"))
        .await;
    assert_eq!((status, &late["error"]["code"]), (410, &json!("expired")));
    assert_eq!(provider.get("/v1/charges/r1").await.0, 404);
    let early = until("r1", "2999-01-01T00:00:00Z");
    assert_eq!(provider.post("/v1/charges", early).await.0, 201);
    let again = until("r1", "2020-01-01T00:00:00Z");
    assert_eq!(provider.post("/v1/charges", again).await.0, 200);
    assert_eq!(
        provider.post("/v1/charges", until("r2", "soon")).await.0,
        422
    );
}

/// Twenty of the same request at once are one movement.
#[tokio::test]
async fn concurrent_duplicates_are_one_movement() {
    let provider = Provider::start(&[]).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let request = provider.request(Method::POST, "/v1/payouts");
        calls.spawn(request.bearer_auth(API_KEY).json(&charge("r1", 100)).send());
    }
    let mut made = 0;
    while let Some(call) = calls.join_next().await {
        let response = call.expect("no call panics").expect("the provider answers");
        match response.status().as_u16() {
            201 => made += 1,
            200 => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(made, 1);
    let (_, list) = provider.get("/v1/payouts").await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
}

/// Lists go through everything, oldest first, page by page.
#[tokio::test]
async fn lists_are_paged() {
    let provider = Provider::start(&[]).await;
    for number in 0..5 {
        provider
            .post("/v1/charges", charge(&format!("r{number}"), 100))
            .await;
    }
    provider.post("/v1/payouts", charge("p", 100)).await;
    let mut references = Vec::new();
    let mut after = json!(0);
    while !after.is_null() {
        let (status, page) = provider
            .get(&format!("/v1/charges?limit=2&after={after}"))
            .await;
        assert_eq!(status, 200);
        for movement in page["data"].as_array().expect("a list") {
            references.push(movement["reference"].clone());
        }
        after = page["next_after"].clone();
    }
    assert_eq!(references, ["r0", "r1", "r2", "r3", "r4"]);
    let (status, _) = provider.get("/v1/charges?limit=many").await;
    assert_eq!(status, 400);
}

/// Without the key there is nothing, and nonsense is refused.
#[tokio::test]
async fn strangers_and_nonsense_are_refused() {
    let provider = Provider::start(&[]).await;
    for key in [None, Some("wrong"), Some("")] {
        let request = provider.request(Method::GET, "/v1/charges");
        let request = match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await.expect("the provider answers");
        assert_eq!(response.status(), 401, "{key:?}");
    }
    for body in [
        json!({}),
        json!([]),
        json!({"reference": "r", "amount_minor": "100", "currency": "EUR"}),
        json!({"reference": "r", "amount_minor": 1.5, "currency": "EUR"}),
        json!({"reference": "r", "amount_minor": 0, "currency": "EUR"}),
        json!({"reference": "", "amount_minor": 1, "currency": "EUR"}),
        json!({"reference": "r", "amount_minor": 1, "currency": "eur"}),
        json!({"reference": "r", "amount_minor": 1, "currency": "EUR", "colour": "red"}),
    ] {
        let (status, refused) = provider.post("/v1/charges", body.clone()).await;
        assert!((400..500).contains(&status), "{body}: {status}");
        assert!(refused["error"]["code"].is_string(), "{body}: {refused}");
    }
    for body in [
        json!({"operation": "loan", "kind": "timeout"}),
        json!({"operation": "charge", "kind": "flood"}),
        json!({"operation": "status", "kind": "decline"}),
        json!({"operation": "charge", "kind": "slow", "delay_ms": 60_001}),
        json!({"operation": "charge", "kind": "slow", "times": 0}),
    ] {
        assert_eq!(
            provider.post("/v1/faults", body.clone()).await.0,
            400,
            "{body}"
        );
    }
    assert_eq!(provider.get("/v1/nothing").await.0, 404);
    let livez = provider
        .request(Method::GET, "/livez")
        .send()
        .await
        .expect("it answers");
    assert_eq!(livez.status(), 200);
}
