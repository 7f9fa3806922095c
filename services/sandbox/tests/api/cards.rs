//! Cards: authorisations, captures, voids, expiry and the test cards.

use serde_json::{Value, json};

use crate::support::{Customer, Provider, authorization, capture, refusal};

const GOOD_CARD: &str = "4242424242424242";

/// Authorised money is captured in parts, never more than was authorised, and a
/// capture is refunded as a charge is.
#[tokio::test]
async fn an_authorization_is_captured_in_parts() {
    let provider = Provider::start(&[]).await;
    let asked = authorization("a1", GOOD_CARD, 10_000);
    let made = provider.done("/v1/authorizations", asked.clone()).await;
    assert_eq!(
        (&made["status"], &made["captured_minor"]),
        (&json!("authorized"), &json!(0))
    );
    assert_eq!(
        (&made["card"]["last4"], &made["card"]["brand"]),
        (&json!("4242"), &json!("visa"))
    );
    assert_eq!(
        provider.post("/v1/authorizations", asked).await,
        (200, made.clone())
    );
    assert_eq!(provider.get("/v1/authorizations/a1").await, (200, made));
    for other in [
        authorization("a1", GOOD_CARD, 9_999),
        authorization("a1", "5555555555554444", 10_000),
    ] {
        let refused = provider.post("/v1/authorizations", other).await;
        assert_eq!(refusal(&refused), (409, "reference_reused"));
    }

    let path = "/v1/authorizations/a1/captures";
    let first = provider.done(path, capture("k1", 4_000)).await;
    assert_eq!(
        (&first["object"], &first["status"]),
        (&json!("capture"), &json!("succeeded"))
    );
    assert_eq!(first["authorization_reference"], "a1");
    assert_eq!(
        provider.post(path, capture("k1", 4_000)).await,
        (200, first.clone())
    );
    assert_eq!(provider.get("/v1/captures/k1").await, (200, first));
    let refused = provider.post(path, capture("k1", 4_001)).await;
    assert_eq!(refusal(&refused), (409, "reference_reused"));
    let refused = provider.post(path, capture("k2", 6_001)).await;
    assert_eq!(refusal(&refused), (409, "capture_exceeds_authorization"));
    provider.done(path, capture("k2", 6_000)).await;
    let (_, whole) = provider.get("/v1/authorizations/a1").await;
    assert_eq!(
        (&whole["status"], &whole["captured_minor"]),
        (&json!("captured"), &json!(10_000))
    );
    let refused = provider.post("/v1/authorizations/a1/void", json!({})).await;
    assert_eq!(refusal(&refused), (409, "authorization_captured"));

    let refund = |reference: &str, amount_minor: i64| json!({"reference": reference, "capture_reference": "k1", "amount_minor": amount_minor});
    provider.done("/v1/refunds", refund("r1", 4_000)).await;
    let refused = provider.post("/v1/refunds", refund("r2", 1)).await;
    assert_eq!(refusal(&refused), (409, "refund_exceeds_charge"));
    let refused = provider
        .post("/v1/authorizations/a2/captures", capture("k3", 1))
        .await;
    assert_eq!(refusal(&refused), (404, "authorization_not_found"));
    provider.verify().await;
}

/// What is left of an authorisation is given up once, and then not captured.
#[tokio::test]
async fn an_authorization_is_voided() {
    let mut customer = Customer::start(0).await;
    let provider = Provider::start_for(&customer).await;
    provider
        .done("/v1/authorizations", authorization("a1", GOOD_CARD, 100))
        .await;
    provider
        .done("/v1/authorizations/a1/captures", capture("k1", 40))
        .await;
    provider
        .fault(json!({"operation": "void", "kind": "lost_response"}))
        .await;
    provider
        .unanswered("/v1/authorizations/a1/void", &json!({}))
        .await;
    let (status, voided) = provider.post("/v1/authorizations/a1/void", json!({})).await;
    assert_eq!((status, &voided["status"]), (200, &json!("voided")));
    assert_eq!(voided["captured_minor"], 40);
    let refused = provider
        .post("/v1/authorizations/a1/captures", capture("k2", 1))
        .await;
    assert_eq!(refusal(&refused), (409, "authorization_voided"));
    let refused = provider.post("/v1/authorizations/a2/void", json!({})).await;
    assert_eq!(refusal(&refused), (404, "not_found"));
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(customer.next_event().await.0);
    }
    events.sort();
    assert_eq!(
        events,
        [
            "authorization.authorized",
            "authorization.voided",
            "capture.succeeded"
        ]
    );
    provider.verify().await;
}

/// Captures that come at once never take more than was authorised.
#[tokio::test]
async fn concurrent_captures_do_not_exceed() {
    let provider = Provider::start(&[]).await;
    provider
        .done("/v1/authorizations", authorization("a1", GOOD_CARD, 100))
        .await;
    let calls = (0..10).map(|number| {
        provider.post(
            "/v1/authorizations/a1/captures",
            capture(&format!("k{number}"), 30),
        )
    });
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.0 == 201).count(), 3);
    provider.verify().await;
}

/// After a week what is left of an authorisation is gone; what was captured
/// stays, and a whole capture does not expire.
#[tokio::test]
async fn authorizations_expire_by_the_clock() {
    let mut customer = Customer::start(0).await;
    let provider = Provider::start_for(&customer).await;
    for reference in ["part", "whole"] {
        let asked = authorization(reference, GOOD_CARD, 100);
        provider.done("/v1/authorizations", asked).await;
    }
    provider
        .done("/v1/authorizations/part/captures", capture("k1", 40))
        .await;
    provider
        .done("/v1/authorizations/whole/captures", capture("k2", 100))
        .await;
    for _ in 0..4 {
        customer.next_event().await;
    }
    provider
        .clock(json!({"advance_seconds": 7 * 86_400 - 60}))
        .await;
    provider
        .done("/v1/authorizations/part/captures", capture("k3", 1))
        .await;
    assert_eq!(customer.next_event().await.0, "capture.succeeded");
    provider.clock(json!({"advance_seconds": 60})).await;
    let (_, part) = provider.get("/v1/authorizations/part").await;
    assert_eq!(
        (&part["status"], &part["captured_minor"]),
        (&json!("expired"), &json!(41))
    );
    assert_eq!(part["finished_at"], part["expires_at"]);
    let (_, whole) = provider.get("/v1/authorizations/whole").await;
    assert_eq!(whole["status"], "captured");
    let refused = provider
        .post("/v1/authorizations/part/captures", capture("k4", 1))
        .await;
    assert_eq!(refusal(&refused), (409, "authorization_expired"));
    let refused = provider
        .post("/v1/authorizations/part/void", json!({}))
        .await;
    assert_eq!(refusal(&refused), (409, "authorization_expired"));
    let expired = ("authorization.expired".to_owned(), "part".to_owned());
    assert_eq!(customer.next_event().await, expired);
    provider.verify().await;
}

/// Each test card brings what the table in the README says, by its number and by
/// its test token.
#[tokio::test]
async fn test_cards_are_as_documented() {
    let provider = Provider::start(&[]).await;
    let declines = [
        ("4000000000000002", "card_declined"),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000009987", "lost_card"),
        ("4000000000009979", "stolen_card"),
        ("4000000000000069", "expired_card"),
        ("4000000000000127", "incorrect_cvc"),
        ("4000000000000119", "processing_error"),
    ];
    for (number, code) in declines {
        let by_number = authorization(code, number, 100);
        let declined = provider.done("/v1/authorizations", by_number).await;
        assert_eq!(
            (&declined["status"], &declined["decline_code"]),
            (&json!("declined"), &json!(code))
        );
        let by_token = authorization(code, &format!("tok_{code}"), 100);
        assert_eq!(
            provider.post("/v1/authorizations", by_token).await,
            (200, declined)
        );
        let path = format!("/v1/authorizations/{code}/captures");
        let refused = provider.post(&path, capture("k", 1)).await;
        assert_eq!(refusal(&refused), (409, "authorization_not_open"));
    }
    // The number, what becomes of the first request, of the reference, and of
    // the request when it comes again.
    let silent = [
        ("4000000000007015", "slow", Some("authorized"), 200),
        ("4000000000007023", "lost_response", Some("authorized"), 200),
        ("4000000000007080", "no_answer", Some("authorized"), 200),
        ("4000000000007049", "timeout_then_success", None, 201),
    ];
    for (number, name, recorded, again) in silent {
        let asked = authorization(name, number, 100);
        provider.unanswered("/v1/authorizations", &asked).await;
        let path = format!("/v1/authorizations/{name}");
        match recorded {
            Some(status) => _ = provider.reaches(&path, status).await,
            None => assert_eq!(provider.get(&path).await.0, 404, "{name}"),
        }
        let (status, answer) = provider.post("/v1/authorizations", asked).await;
        assert_eq!(
            (status, &answer["status"]),
            (again, &json!("authorized")),
            "{name}"
        );
    }
    for _ in 0..2 {
        let asked = authorization("never", "tok_timeout", 100);
        assert!(
            provider
                .unanswered("/v1/authorizations", &asked)
                .await
                .is_timeout()
        );
        let asked = authorization("error", "tok_error_500", 100);
        assert_eq!(provider.post("/v1/authorizations", asked).await.0, 500);
    }
    for (number, name, end) in [
        ("4000000000007056", "pending_then_success", "authorized"),
        ("4000000000007064", "pending_then_failure", "declined"),
    ] {
        let pending = provider
            .done("/v1/authorizations", authorization(name, number, 100))
            .await;
        assert_eq!(
            (&pending["status"], &pending["decline_code"]),
            (&json!("pending"), &Value::Null)
        );
        let path = format!("/v1/authorizations/{name}/captures");
        let refused = provider.post(&path, capture("k", 1)).await;
        assert_eq!(refusal(&refused), (409, "authorization_not_open"));
        provider
            .reaches(&format!("/v1/authorizations/{name}"), end)
            .await;
    }
    provider.verify().await;
}

/// A card's number is written nowhere, not in the books and in no answer, and a
/// token stands for it.
#[tokio::test]
async fn card_numbers_are_not_kept() {
    let provider = Provider::start(&[]).await;
    let number = "5454 5454 5454 5454";
    let (status, card) = provider
        .post("/v1/cards", json!({"card_number": number}))
        .await;
    assert_eq!(status, 201);
    let token = card["token"].as_str().expect("a token");
    let by_number = authorization("a1", number, 100);
    let made = provider.done("/v1/authorizations", by_number).await;
    assert_eq!(made["card"], card);
    let by_token = authorization("a1", token, 100);
    assert_eq!(
        provider.post("/v1/authorizations", by_token).await,
        (200, made)
    );
    // Numbers are not told back either, however wrong the request is.
    for wrong in [
        json!({"card_number": 5_454_545_454_545_454_i64}),
        json!({"card_number": "5454545454545455"}),
        json!({"card_number": "5454545454545454", "colour": "red"}),
    ] {
        let (status, refused) = provider.post("/v1/cards", wrong.clone()).await;
        assert!((400..500).contains(&status), "{wrong}");
        assert!(!refused.to_string().contains("545454"), "{refused}");
    }
    for wrong in [
        json!({"reference": "a2", "amount_minor": 1, "currency": "EUR"}),
        json!({"reference": "a2", "amount_minor": 1, "currency": "EUR", "card_token": "tok_none"}),
        json!({"reference": "a2", "amount_minor": 1, "currency": "EUR", "card_token": token,
            "card_number": number}),
    ] {
        let refused = provider.post("/v1/authorizations", wrong.clone()).await;
        assert_eq!(refusal(&refused), (400, "field_invalid"), "{wrong}");
    }
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT format('%I', table_name) FROM information_schema.tables
         WHERE table_schema = 'public'",
    )
    .fetch_all(&provider.database.pool)
    .await
    .expect("the tables are listed");
    assert!(tables.len() > 5);
    for (table,) in tables {
        let sql =
            format!("SELECT count(*) FROM {table} row WHERE row::text ~ '5454[ -]?5454[ -]?5454'");
        let (found,): (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(&provider.database.pool)
            .await
            .expect("the table is read");
        assert_eq!(found, 0, "{table}");
    }
}

/// Lists go through authorisations and captures, page by page, and each fault of
/// a capture leaves the books as documented.
#[tokio::test]
async fn captures_have_lists_and_faults() {
    let provider = Provider::start(&[]).await;
    for number in 0..3 {
        let asked = authorization(&format!("a{number}"), "tok_visa", 100);
        provider.done("/v1/authorizations", asked).await;
    }
    let (_, page) = provider.get("/v1/authorizations?limit=2").await;
    let path = format!("/v1/authorizations?limit=2&after={}", page["next_after"]);
    let (_, last) = provider.get(&path).await;
    assert_eq!(
        (&last["data"][0]["reference"], &last["next_after"]),
        (&json!("a2"), &Value::Null)
    );

    let captures = "/v1/authorizations/a0/captures";
    provider
        .fault(json!({"operation": "capture", "kind": "decline"}))
        .await;
    let declined = provider.done(captures, capture("k0", 100)).await;
    assert_eq!(
        (&declined["status"], &declined["decline_code"]),
        (&json!("declined"), &json!("do_not_honor"))
    );
    provider
        .fault(json!({"operation": "capture", "kind": "pending_decline", "delay_ms": 100_000}))
        .await;
    provider.done(captures, capture("k1", 100)).await;
    let (_, taken) = provider.get("/v1/authorizations/a0").await;
    assert_eq!(taken["status"], "captured");
    provider.clock(json!({"advance_seconds": 100})).await;
    let (_, free) = provider.get("/v1/authorizations/a0").await;
    assert_eq!(
        (&free["status"], &free["captured_minor"]),
        (&json!("authorized"), &json!(0))
    );
    provider
        .fault(json!({"operation": "capture", "kind": "no_answer"}))
        .await;
    let silent = provider.unanswered(captures, &capture("k2", 100)).await;
    assert!(silent.is_timeout());
    provider.reaches("/v1/captures/k2", "succeeded").await;
    let (_, list) = provider.get("/v1/captures").await;
    let statuses: Vec<_> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|capture| capture["status"].as_str().expect("a status"))
        .collect();
    assert_eq!(statuses, ["declined", "declined", "succeeded"]);
    provider.verify().await;
}
