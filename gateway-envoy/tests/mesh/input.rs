//! Bad input is the caller's fault, says which field it is, and is never a 500.

use serde_json::{Value, json};

use crate::support::{Answer, Edge, eur, new_key, send, transfer};

const TRANSFERS: &str = "/api/v1/transactions/transfers";

/// Refused in the one error form, with the field named in the details or,
/// where the gateway itself cannot read the body, in the message.
fn assert_names(refused: &Answer, field: &str, what: &str) {
    assert_eq!(refused.status, 400, "{what}: {:#}", refused.json);
    assert_eq!(refused.json["code"], 3, "{what}: {:#}", refused.json);
    assert!(!refused.reason().is_empty(), "{what}: {:#}", refused.json);
    let message = refused.json["message"].as_str().unwrap_or_default();
    let named = refused.fields().contains(field) || message.contains(field);
    assert!(named, "{what}: {field} is not named: {:#}", refused.json);
}

/// Every kind of bad transfer.
#[tokio::test]
async fn bad_transfers_name_their_field() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let (from, to) = (
        edge.funded(&ada, 1_000).await,
        edge.wallet(&ada, "EUR").await,
    );
    let dollars = edge.wallet(&ada, "USD").await;
    let amount = |minor_units: Value| {
        let mut body = transfer(&from, &to, 1);
        body["amount"]["minor_units"] = minor_units;
        body
    };
    let changed = |field: &str, value: Value| {
        let mut body = transfer(&from, &to, 1);
        body[field] = value;
        body
    };
    let cases = [
        ("an empty body", json!({}), "from_wallet_id"),
        (
            "no amount",
            json!({"from_wallet_id": from, "to_wallet_id": to}),
            "amount",
        ),
        (
            "a negative amount",
            amount(json!("-5")),
            "amount.minor_units",
        ),
        ("nothing", amount(json!("0")), "amount.minor_units"),
        (
            "more than there can be",
            amount(json!("9223372036854775807")),
            "amount.minor_units",
        ),
        (
            "more than 64 bits",
            amount(json!("9223372036854775808")),
            "minor_units",
        ),
        ("a fraction", amount(json!("1.5")), "minor_units"),
        ("words for a number", amount(json!("ten")), "minor_units"),
        ("a list for a number", amount(json!([1])), "minor_units"),
        (
            "an unknown field",
            changed("colour", json!("red")),
            "colour",
        ),
        (
            "a number for an id",
            changed("from_wallet_id", json!(5)),
            "from_wallet_id",
        ),
        (
            "an id of another kind",
            changed("to_wallet_id", json!(ada.user_id)),
            "to_wallet_id",
        ),
        (
            "a long note",
            changed("description", json!("x".repeat(201))),
            "description",
        ),
        (
            "a currency of two letters",
            changed("amount", json!({"currency_code": "EU", "minor_units": "1"})),
            "amount.currency_code",
        ),
        (
            "no such currency",
            changed(
                "amount",
                json!({"currency_code": "QQQ", "minor_units": "1"}),
            ),
            "amount.currency_code",
        ),
        (
            "the same wallet twice",
            changed("to_wallet_id", json!(from)),
            "to_wallet_id",
        ),
        (
            "a wallet of another currency",
            changed("to_wallet_id", json!(dollars)),
            "amount.currency_code",
        ),
    ];
    for (what, body, field) in cases {
        let refused = edge.pay(TRANSFERS, &ada.token, &new_key(), &body).await;
        assert_names(&refused, field, what);
    }
    assert_eq!(edge.available(&ada, &from).await, 1_000);
}

/// Amounts may be numbers or text.
#[tokio::test]
async fn amounts_are_numbers_or_text() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let (from, to) = (
        edge.funded(&ada, 1_000).await,
        edge.wallet(&ada, "EUR").await,
    );
    for minor_units in [json!(10), json!("10")] {
        let mut body = transfer(&from, &to, 1);
        body["amount"]["minor_units"] = minor_units;
        edge.pay(TRANSFERS, &ada.token, &new_key(), &body)
            .await
            .ok();
    }
    assert_eq!(edge.available(&ada, &to).await, 20);
}

/// A body that is no JSON, or none at all.
#[tokio::test]
async fn broken_bodies_are_refused() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"text\"",
        "{\"amount\": {\"minor_units\": }}",
    ] {
        let request = edge.request("POST", TRANSFERS).bearer_auth(&ada.token);
        let request = request
            .header("idempotency-key", new_key())
            .header("content-type", "application/json");
        let refused = send(request.body(body)).await;
        assert_eq!(refused.status, 400, "{body}: {:#}", refused.json);
        assert_eq!(refused.json["code"], 3, "{body}: {:#}", refused.json);
        assert!(!refused.reason().is_empty(), "{body}: {:#}", refused.json);
    }
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let request = edge.request("POST", TRANSFERS).bearer_auth(&ada.token);
    let request = request
        .header("idempotency-key", new_key())
        .header("content-type", "application/json");
    let refused = send(request.body(deep)).await;
    assert!(
        (400..500).contains(&refused.status),
        "{}: {:#}",
        refused.status,
        refused.json
    );
}

/// A body over the bound is refused by its size.
#[tokio::test]
async fn huge_bodies_are_refused() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let body = json!({"subject": "x", "description": "x".repeat(5 * 1024 * 1024)});
    let request = edge
        .request("POST", "/api/v1/admin/tickets")
        .bearer_auth(&ada.token)
        .json(&body);
    // The gateway may close the connection before it has read the whole body.
    if let Ok(response) = request.send().await {
        assert_eq!(response.status().as_u16(), 413);
    }
    edge.get("/api/v1/identity/me", &ada.token).await.ok();
}

/// Pages have a size that makes sense and a token that was given out.
#[tokio::test]
async fn bad_pages_name_their_field() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet = edge.wallet(&ada, "EUR").await;
    let lists = [
        "/api/v1/wallet/wallets".to_owned(),
        format!("/api/v1/wallet/wallets/{wallet}/entries"),
        "/api/v1/transactions".to_owned(),
        "/api/v1/admin/tickets".to_owned(),
        "/api/v1/identity/sessions".to_owned(),
    ];
    for list in &lists {
        for size in ["-1", "1000001", "2147483648", "ten"] {
            let refused = edge
                .get(&format!("{list}?page_size={size}"), &ada.token)
                .await;
            assert_names(&refused, "page_size", &format!("{list} {size}"));
        }
        let refused = edge
            .get(&format!("{list}?page_token=abc"), &ada.token)
            .await;
        assert_names(&refused, "page_token", list);
        let refused = edge.get(&format!("{list}?colour=red"), &ada.token).await;
        assert_names(&refused, "colour", list);
        edge.get(&format!("{list}?page_size=500"), &ada.token)
            .await
            .ok();
    }
}

/// Registration says what is wrong with it.
#[tokio::test]
async fn bad_registrations_name_their_field() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let good = json!({"email": "x@example.com", "password": "correct horse", "display_name": "X"});
    let cases = [
        ("email", json!("not an address"), 400),
        ("email", json!(""), 400),
        ("email", json!(ada.email), 409),
        ("password", json!("short"), 400),
        ("password", json!("x".repeat(129)), 400),
        ("display_name", json!(""), 400),
    ];
    for (field, value, status) in cases {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = send(
            edge.request("POST", "/api/v1/identity/register")
                .json(&body),
        )
        .await;
        assert_eq!(
            refused.status, status,
            "{field} {value}: {:#}",
            refused.json
        );
        assert!(
            !refused.reason().is_empty(),
            "{field} {value}: {:#}",
            refused.json
        );
    }
}

/// Deposits and withdrawals know their wallet, their currency and their provider.
#[tokio::test]
async fn bad_payments_name_their_field() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet = edge.wallet(&ada, "EUR").await;
    let good = json!({"wallet_id": wallet, "amount": eur(5), "provider": "sandbox"});
    for path in [
        "/api/v1/transactions/deposits",
        "/api/v1/transactions/withdrawals",
    ] {
        let mut body = good.clone();
        body["provider"] = json!("nobody");
        let refused = edge.pay(path, &ada.token, &new_key(), &body).await;
        assert_names(&refused, "provider", path);
        let mut body = good.clone();
        body["amount"]["currency_code"] = json!("USD");
        let refused = edge.pay(path, &ada.token, &new_key(), &body).await;
        assert_names(&refused, "amount.currency_code", path);
        let mut body = good.clone();
        body["wallet_id"] = json!(format!("wal_{}", uuid::Uuid::now_v7()));
        let refused = edge.pay(path, &ada.token, &new_key(), &body).await;
        assert_eq!(
            (refused.status, refused.reason()),
            (404, "WALLET_NOT_FOUND"),
            "{path}"
        );
    }
}
