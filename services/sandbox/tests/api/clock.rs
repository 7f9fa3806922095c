//! The provider's clock.

use serde_json::{Value, json};

use crate::support::{Provider, charge, refusal};

/// The clock shows the real time until it is set, runs on from there or stands,
/// and goes back.
#[tokio::test]
async fn the_clock_is_set_and_put_back() {
    let provider = Provider::start(&[]).await;
    let (status, real) = provider.get("/v1/test/clock").await;
    assert_eq!(
        (status, &real["frozen"], &real["ahead_seconds"]),
        (200, &json!(false), &json!(0))
    );

    let frozen = json!({"now": "2030-01-02T03:04:05Z", "frozen": true});
    assert_eq!(provider.clock(frozen).await["now"], "2030-01-02T03:04:05Z");
    let made = provider.done("/v1/charges", charge("c1", 100)).await;
    assert_eq!(
        (&made["created_at"], &made["finished_at"]),
        (
            &json!("2030-01-02T03:04:05Z"),
            &json!("2030-01-02T03:04:05Z")
        )
    );
    provider.clock(json!({"advance_seconds": 55})).await;
    let (_, later) = provider.get("/v1/test/clock").await;
    assert_eq!(
        (&later["now"], &later["frozen"]),
        (&json!("2030-01-02T03:05:00Z"), &json!(true))
    );

    let running = provider.clock(json!({"frozen": false})).await;
    assert_eq!(running["frozen"], false);
    assert!(
        running["ahead_seconds"]
            .as_i64()
            .is_some_and(|ahead| ahead > 0)
    );
    let (status, back) = provider.delete("/v1/test/clock").await;
    assert_eq!((status, &back["ahead_seconds"]), (200, &json!(0)));

    for wrong in [
        json!({}),
        json!({"now": "1999-12-31T23:59:59Z"}),
        json!({"now": "2200-01-01T00:00:00Z"}),
        json!({"advance_seconds": u64::MAX}),
    ] {
        let refused = provider.post("/v1/test/clock", wrong.clone()).await;
        assert_eq!(refusal(&refused), (400, "field_invalid"), "{wrong}");
    }
    for wrong in [
        json!({"now": "soon"}),
        json!({"advance_seconds": -1}),
        json!({"hour": 1}),
    ] {
        assert_eq!(
            provider.post("/v1/test/clock", wrong.clone()).await.0,
            422,
            "{wrong}"
        );
    }
    provider.verify().await;
}

/// All that is due by then has happened when the clock answers, however much it
/// is, and as of the time when it was due.
#[tokio::test]
async fn what_is_due_happens_at_once() {
    let provider = Provider::start(&[]).await;
    provider
        .clock(json!({"now": "2030-01-01T00:00:00Z", "frozen": true}))
        .await;
    // More than are finished in one go.
    let pending = json!({"operation": "payout", "kind": "pending", "times": 120,
        "delay_ms": 3_600_000});
    provider.fault(pending).await;
    let calls =
        (0..120).map(|number| provider.post("/v1/payouts", charge(&format!("p{number}"), 100)));
    for (status, payout) in futures::future::join_all(calls).await {
        assert_eq!((status, &payout["status"]), (201, &json!("pending")));
    }
    provider.clock(json!({"advance_seconds": 3_599})).await;
    let (_, waiting) = provider.get("/v1/payouts/p0").await;
    assert_eq!(
        (&waiting["status"], &waiting["finished_at"]),
        (&json!("pending"), &Value::Null)
    );
    provider.clock(json!({"advance_seconds": 86_400})).await;
    let (_, list) = provider.get("/v1/payouts?limit=500").await;
    let data = list["data"].as_array().expect("a list");
    assert_eq!(data.len(), 120);
    for payout in data {
        assert_eq!(
            (&payout["status"], &payout["finished_at"]),
            (&json!("succeeded"), &json!("2030-01-01T01:00:00Z"))
        );
    }
    provider.verify().await;
}

/// Until when a request is valid is by the real time, which is the customer's.
#[tokio::test]
async fn validity_is_by_the_real_time() {
    let provider = Provider::start(&[]).await;
    provider.clock(json!({"now": "2100-01-01T00:00:00Z"})).await;
    let mut asked = charge("c1", 100);
    asked["valid_until"] = json!("2099-01-01T00:00:00Z");
    assert_eq!(provider.post("/v1/charges", asked).await.0, 201);
}
