//! Faults on demand of requests and questions, and magic amounts.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{API_KEY, Provider, charge, refusal};

/// Faults hit what they are arranged for, as often as they are arranged for,
/// and leave the books as documented.
#[tokio::test]
async fn faults_are_as_documented() {
    let provider = Provider::start(&[]).await;
    let recorded = [
        ("timeout", None),
        ("connection_reset", None),
        ("error_500", None),
        ("lost_response", Some("succeeded")),
        ("slow", Some("succeeded")),
        ("decline", Some("declined")),
    ];
    for (kind, recorded) in recorded {
        let fault =
            json!({"operation": "payout", "kind": kind, "reference": kind, "delay_ms": 2000});
        assert_eq!(provider.post("/v1/faults", fault).await.0, 201);
        let sent = provider
            .request(Method::POST, "/v1/payouts")
            .bearer_auth(API_KEY)
            .timeout(Duration::from_millis(1500))
            .json(&charge(kind, 100))
            .send()
            .await;
        match kind {
            "timeout" | "slow" => assert!(sent.expect_err(kind).is_timeout(), "{kind}"),
            "connection_reset" | "lost_response" => {
                let error = sent.expect_err(kind);
                assert!(
                    !error.is_timeout() && !error.is_connect(),
                    "{kind}: {error:?}"
                );
            }
            "error_500" => assert_eq!(sent.expect(kind).status(), 500),
            _ => assert_eq!(sent.expect(kind).status(), 201),
        }
        let (status, found) = provider.get(&format!("/v1/payouts/{kind}")).await;
        match recorded {
            None => assert_eq!(status, 404, "{kind}"),
            Some(expected) => assert_eq!(found["status"], expected, "{kind}"),
        }
    }
    let (_, left) = provider.get("/v1/faults").await;
    assert_eq!(left["data"], json!([]), "each was used up");
    let (status, other) = provider.post("/v1/payouts", charge("other", 100)).await;
    assert_eq!((status, &other["status"]), (201, &json!("succeeded")));
    provider.verify().await;
}

/// Magic amounts bring their fault once for a reference; a repeated request
/// finds what was recorded.
#[tokio::test]
async fn magic_amounts_surprise_once() {
    let provider = Provider::start(&[]).await;
    let (_, declined) = provider.post("/v1/charges", charge("r1", 99_901)).await;
    assert_eq!(declined["decline_code"], "insufficient_funds");
    let lost = provider
        .request(Method::POST, "/v1/charges")
        .bearer_auth(API_KEY)
        .json(&charge("r2", 1_099_905))
        .send()
        .await;
    assert!(lost.is_err());
    let (status, found) = provider.post("/v1/charges", charge("r2", 1_099_905)).await;
    assert_eq!((status, &found["status"]), (200, &json!("succeeded")));
    provider.verify().await;
}

/// An error has the status that is asked for, and tells when to come again.
#[tokio::test]
async fn errors_have_their_status() {
    let provider = Provider::start(&[]).await;
    let cases = [
        (None, 503, "unavailable"),
        (Some(502), 502, "unavailable"),
        (Some(500), 500, "internal"),
        (Some(429), 429, "rate_limited"),
    ];
    for (wanted, status, code) in cases {
        let fault = json!({"operation": "charge", "kind": "http_error", "http_status": wanted});
        provider.fault(fault).await;
        let response = provider
            .request(Method::POST, "/v1/charges")
            .bearer_auth(API_KEY)
            .json(&charge("c1", 100))
            .send()
            .await
            .expect("the provider answers");
        assert_eq!(response.status(), status);
        let waits = response.headers().contains_key("retry-after");
        assert_eq!(waits, status == 429 || status == 503);
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["error"]["code"], code);
    }
    assert_eq!(
        provider.get("/v1/charges/c1").await.0,
        404,
        "nothing was recorded"
    );
}

/// A flapping fault hits the first k of each n requests, and then is used up.
#[tokio::test]
async fn flapping_faults_come_and_go() {
    let provider = Provider::start(&[]).await;
    let fault =
        json!({"operation": "payout", "kind": "http_error", "fail": 2, "of": 3, "times": 7});
    provider.fault(fault).await;
    let mut statuses = Vec::new();
    for number in 0..9 {
        let payout = charge(&format!("p{number}"), 100);
        statuses.push(provider.post("/v1/payouts", payout).await.0);
    }
    assert_eq!(statuses, [503, 503, 201, 503, 503, 201, 503, 201, 201]);
    let (_, left) = provider.get("/v1/faults").await;
    assert_eq!(left["data"], json!([]));
    provider.verify().await;
}

/// Faults see only what they are scoped to, are listed with what is left of them,
/// and are taken back one by one or all.
#[tokio::test]
async fn faults_are_scoped_and_taken_back() {
    let provider = Provider::start(&[]).await;
    let by_reference = provider
        .fault(json!({"operation": "charge", "kind": "decline", "reference": "c1", "times": 5}))
        .await;
    provider
        .fault(json!({"operation": "charge", "kind": "decline", "amount_minor": 777}))
        .await;
    let status = async |reference: &str, amount_minor: i64| {
        let made = provider
            .done("/v1/charges", charge(reference, amount_minor))
            .await;
        made["status"].as_str().expect("a status").to_owned()
    };
    assert_eq!(status("c0", 100).await, "succeeded");
    assert_eq!(status("c1", 100).await, "declined");
    assert_eq!(status("c2", 777).await, "declined");
    assert_eq!(status("c3", 777).await, "succeeded", "it hits once");
    let (_, left) = provider.get("/v1/faults").await;
    assert_eq!(left["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&left["data"][0]["id"], &left["data"][0]["times"]),
        (&by_reference["id"], &json!(4))
    );
    let path = format!("/v1/faults/{}", by_reference["id"]);
    assert_eq!(provider.delete(&path).await.0, 204);
    assert_eq!(provider.delete(&path).await.0, 404);
    provider
        .fault(json!({"operation": "charge", "kind": "decline"}))
        .await;
    assert_eq!(provider.delete("/v1/faults").await.0, 204);
    assert_eq!(status("c4", 100).await, "succeeded");
    for wrong in [
        json!({"operation": "charge", "kind": "http_error", "http_status": 404}),
        json!({"operation": "charge", "kind": "decline", "fail": 1}),
        json!({"operation": "charge", "kind": "decline", "fail": 3, "of": 3}),
        json!({"operation": "charge", "kind": "decline", "event": "charge.succeeded"}),
        json!({"operation": "charge", "kind": "duplicate"}),
        json!({"operation": "charge", "kind": "pending", "delay_ms": 604_800_001}),
        json!({"operation": "callback", "kind": "timeout"}),
        json!({"operation": "callback", "kind": "duplicate", "copies": 0}),
        json!({"operation": "void", "kind": "decline"}),
        json!({"operation": "list", "kind": "no_answer"}),
    ] {
        let refused = provider.post("/v1/faults", wrong.clone()).await;
        assert_eq!(refusal(&refused), (400, "field_invalid"), "{wrong}");
    }
}

/// The magic amounts that surprise only once let the second request through, and
/// the one without an answer is recorded.
#[tokio::test]
async fn magic_amounts_of_one_time() {
    let provider = Provider::start(&[]).await;
    let asked = charge("c1", 99_910);
    assert!(
        provider
            .unanswered("/v1/charges", &asked)
            .await
            .is_timeout()
    );
    assert_eq!(provider.get("/v1/charges/c1").await.0, 404);
    assert_eq!(provider.post("/v1/charges", asked).await.0, 201);
    let asked = charge("c2", 99_915);
    assert_eq!(provider.post("/v1/charges", asked.clone()).await.0, 503);
    assert_eq!(provider.post("/v1/charges", asked).await.0, 201);
    let asked = charge("c3", 99_911);
    assert!(
        provider
            .unanswered("/v1/charges", &asked)
            .await
            .is_timeout()
    );
    provider.reaches("/v1/charges/c3", "succeeded").await;
    assert_eq!(provider.post("/v1/charges", asked).await.0, 200);
    for (amount_minor, code) in [
        (99_912, "lost_card"),
        (99_913, "expired_card"),
        (99_914, "processing_error"),
    ] {
        let declined = provider
            .done("/v1/charges", charge(code, amount_minor))
            .await;
        assert_eq!(declined["decline_code"], code);
    }
    provider.verify().await;
}
