//! What a REST caller may send, and how the gateway names what it may not.

use serde_json::{Value, json};

use crate::support::{Answer, Edge, KNOWN_WALLET};

const TRANSFERS: &str = "/api/v1/transactions/transfers";

/// A transfer whose amount is this JSON.
fn transfer(minor_units: &str) -> String {
    format!(
        r#"{{"from_wallet_id":"{KNOWN_WALLET}","to_wallet_id":"{KNOWN_WALLET}","amount":{{"currency_code":"EUR","minor_units":{minor_units}}}}}"#
    )
}

async fn send(edge: &Edge, body: impl Into<String>) -> Answer {
    let call = edge.rest.post(TRANSFERS, body.into());
    call.token(&edge.token("usr_1")).send().await
}

/// Expects a refusal of this field, in the form that the services use.
fn refused(answer: &Answer, field: &str) {
    assert_eq!(answer.error(400, 3), "INVALID_FIELD", "{answer:?}");
    let violations = answer.violations();
    assert_eq!(violations.len(), 1, "{answer:?}");
    let (named, description) = &violations[0];
    assert_eq!(named, field, "{answer:?}");
    assert!(!description.is_empty());
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains(field) && message.contains(description.as_str()),
        "{message}"
    );
}

/// 64-bit integers come as numbers or as strings, and go as strings.
#[tokio::test]
async fn integers_are_numbers_or_strings() {
    let edge = Edge::start().await;
    for minor_units in ["1000", "\"1000\""] {
        let answer = send(&edge, transfer(minor_units)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let transaction = &answer.json()["transaction"];
        assert_eq!(
            transaction["amount"],
            json!({ "currency_code": "EUR", "minor_units": "1000" })
        );
        assert_eq!(transaction["state"], "TRANSACTION_STATE_COMPLETED");
        // Fields that are zero are there all the same.
        assert_eq!(transaction["version"], "0");
        assert_eq!(transaction["description"], "");
    }
    let answer = send(&edge, transfer("1000000000000000")).await;
    assert_eq!(
        answer.json()["transaction"]["amount"]["minor_units"],
        "1000000000000000"
    );
}

/// A misspelt field is an error, at any depth, also in camel case twice over.
#[tokio::test]
async fn unknown_fields_are_refused() {
    let edge = Edge::start().await;
    refused(&send(&edge, r#"{"from":"x"}"#).await, "from");
    refused(
        &send(&edge, r#"{"amount":{"minor_unit":1}}"#).await,
        "amount.minor_unit",
    );
    refused(
        &send(&edge, r#"{"from\u005fwallet_id":"x"}"#).await,
        r"from\u005fwallet_id",
    );
    refused(
        &send(&edge, r#"{"amount":{"minor_units":1,"minor_units":2}}"#).await,
        "amount.minor_units",
    );
    refused(
        &send(&edge, r#"{"amount":{"minor_units":1,"minorUnits":2}}"#).await,
        "amount.minorUnits",
    );
}

/// A value of the wrong type, or beyond its type, is named with its field.
#[tokio::test]
async fn wrong_types_are_refused() {
    let edge = Edge::start().await;
    let overflowing = [
        "9223372036854775808",
        "-9223372036854775809",
        "\"99999999999999999999\"",
    ];
    let no_integers = [
        "1.5", "1e3", "\"\"", "\"ten\"", "true", "\"1 \"", "\"0x10\"",
    ];
    for value in overflowing.into_iter().chain(no_integers) {
        refused(&send(&edge, transfer(value)).await, "amount.minor_units");
    }
    for value in ["[1]", "{}", "[]"] {
        refused(&send(&edge, transfer(value)).await, "amount.minor_units");
    }
    for body in [
        r#"{"amount":5}"#,
        r#"{"amount":"5"}"#,
        r#"{"amount":[]}"#,
        r#"{"amount":true}"#,
    ] {
        refused(&send(&edge, body).await, "amount");
    }
    for body in [
        r#"{"from_wallet_id":5}"#,
        r#"{"from_wallet_id":{}}"#,
        r#"{"from_wallet_id":["x"]}"#,
        r#"{"from_wallet_id":false}"#,
    ] {
        refused(&send(&edge, body).await, "from_wallet_id");
    }
}

/// What is no JSON object is refused, and leaves the answer's own JSON whole.
#[tokio::test]
async fn malformed_json_is_refused() {
    let edge = Edge::start().await;
    for body in [
        "{",
        " \n",
        "[]",
        "\"x\"",
        "7",
        "true",
        "{}x",
        "{'a':1}",
        "{a:1}",
        "{\"\u{1}\":1}",
        "<a/>",
        r#"{"amount":}"#,
        r#"{"description":"\x"}"#,
        r#"{"description":"a}"#,
        r#"{"description":nul}"#,
        r#"{"amount":{"minor_units":01}}"#,
        r#"{"description":"a",}"#,
        r#"{"description" "a"}"#,
    ] {
        let answer = send(&edge, body).await;
        assert_eq!(answer.error(400, 3), "INVALID_FIELD", "{body}: {answer:?}");
        assert_eq!(answer.violations().len(), 1, "{body}: {answer:?}");
    }
    let hostile = "a\"}],\"code\":0,\u{7f}\u{e9}%REQ(AUTHORIZATION)%\\n";
    let body = Value::Object(serde_json::Map::from_iter([(hostile.to_owned(), json!(1))]));
    let answer = send(&edge, body.to_string()).await;
    assert_eq!(answer.error(400, 3), "INVALID_FIELD");
    assert!(
        answer.violations()[0].0.starts_with(r#"a\"}],\"code\":0,"#),
        "{answer:?}"
    );
    // Text that is no UTF-8, or half a character: the field is named, and what
    // else is in the body is not repeated.
    let bytes = [
        b"{\"password\":\"secret\",\"email\":\"".as_slice(),
        b"\xff\xfe",
        b"\"}",
    ]
    .concat();
    let answer = edge.rest.post("/api/v1/identity/login", bytes).send().await;
    assert_eq!(answer.error(400, 3), "INVALID_FIELD");
    assert_eq!(answer.violations()[0].0, "email");
    assert!(!answer.body.contains("secret"), "{answer:?}");
    for half in [r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\u0041"] {
        refused(
            &send(&edge, format!(r#"{{"description":"{half}"}}"#)).await,
            "description",
        );
    }
    let deep = format!("{{\"amount\":{}", "{\"amount\":".repeat(5000));
    assert_eq!(send(&edge, deep).await.error(400, 3), "INVALID_FIELD");
    let deep = format!("{{\"description\":{}", "[".repeat(100_000));
    assert_eq!(send(&edge, deep).await.error(400, 3), "INVALID_FIELD");
}

/// An absent body is an empty request: the service says what is missing.
#[tokio::test]
async fn without_a_body_the_service_answers() {
    let edge = Edge::start().await;
    for body in ["", "{}"] {
        let answer = send(&edge, body).await;
        assert_eq!(
            answer.error(400, 3),
            "INVALID_FIELD",
            "{body:?}: {answer:?}"
        );
        let fields: Vec<String> = answer
            .violations()
            .into_iter()
            .map(|(field, _)| field)
            .collect();
        assert_eq!(
            fields,
            ["from_wallet_id", "to_wallet_id", "amount"],
            "{body:?}"
        );
    }
    let call = edge
        .rest
        .call("POST", TRANSFERS)
        .token(&edge.token("usr_1"));
    assert_eq!(call.send().await.violations().len(), 3);
    // The bounds are the service's, and come in the same form.
    let answer = send(&edge, transfer("-5")).await;
    assert_eq!(answer.error(400, 3), "INVALID_FIELD");
    assert_eq!(answer.violations()[0].0, "amount.minor_units");
    // Escapes, other alphabets and null are JSON as good as any.
    let body = transfer("1").replace(
        "{\"from",
        r#"{"description":"\u00fc\n\"é\ud83d\ude00😀€","amount":null,"from"#,
    );
    let answer = send(&edge, body.replace(r#""amount":null,"#, "")).await;
    assert_eq!(
        answer.json()["transaction"]["description"],
        "ü\n\"é😀😀€",
        "{answer:?}"
    );
    let answer = send(&edge, body).await;
    refused(&answer, "amount");
}

/// The query is as strict as the body.
#[tokio::test]
async fn queries_are_checked() {
    let edge = Edge::start().await;
    let get = async |path: &str| edge.rest.get(path).token(&edge.token("usr_1")).send().await;
    let answer = get("/api/v1/wallet/wallets?page_size=7&page_token=").await;
    assert_eq!(answer.json()["next_page_token"], "after 7", "{answer:?}");
    for value in ["abc", "2147483648", "-2147483649", "1.5", "", "%31%3B"] {
        refused(
            &get(&format!("/api/v1/wallet/wallets?page_size={value}")).await,
            "page_size",
        );
    }
    refused(
        &get("/api/v1/wallet/wallets?page_size=1&page_size=2").await,
        "page_size",
    );
    refused(&get("/api/v1/wallet/wallets?size=1").await, "size");
    refused(&get("/api/v1/admin/tickets?status=FOO").await, "status");
    assert_eq!(
        get("/api/v1/admin/tickets?status=TICKET_STATUS_OPEN")
            .await
            .status,
        200
    );
    let entries = format!("/api/v1/wallet/wallets/{KNOWN_WALLET}/entries");
    assert_eq!(
        get(&format!("{entries}?page_size=1&page_token=a%20b"))
            .await
            .status,
        200
    );
    // What the path says, the query may not say again.
    refused(
        &get(&format!("{entries}?wallet_id=other")).await,
        "wallet_id",
    );
    // A call whose body is the whole request takes nothing else.
    let call = edge.rest.post(&format!("{TRANSFERS}?description=x"), "{}");
    refused(
        &call.token(&edge.token("usr_1")).send().await,
        "description",
    );
}

/// Instants are RFC 3339, in the query and in the body, with any offset; what is
/// none is named with its field.
#[tokio::test]
async fn instants_are_checked() {
    let edge = Edge::start().await;
    let balance = format!("/api/v1/wallet/wallets/{KNOWN_WALLET}/balance");
    let get = async |path: &str| edge.rest.get(path).token(&edge.token("usr_1")).send().await;
    for (asked, answered) in [
        ("2026-11-21T13:00:00Z", "2026-11-21T13:00:00Z"),
        ("2026-11-21T13:00:00.123456Z", "2026-11-21T13:00:00.123456Z"),
        ("2026-11-21T13%3A00%3A00.5Z", "2026-11-21T13:00:00.500Z"),
        ("2026-11-21T14:00:00%2B01:00", "2026-11-21T13:00:00Z"),
        ("2026-11-20T23:30:00-13:30", "2026-11-21T13:00:00Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
    ] {
        let path = format!("{balance}?at={asked}&basis=TIME_BASIS_RECORDED");
        let answer = get(&path).await;
        assert_eq!(answer.status, 200, "{asked}: {answer:?}");
        assert_eq!(answer.json()["at"], answered, "{asked}");
        assert_eq!(answer.json()["basis"], "TIME_BASIS_RECORDED");
    }
    let no_instants = [
        "",
        "now",
        "2026-11-21",
        "1732194000",
        "2026-11-21T13:00:00",
        "2026-13-21T13:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T13:60:00Z",
        "2026-11-21T13:00:61Z",
        "2026-11-21T13:00:00.Z",
        "2026-11-21T13:00:00.1234567890Z",
        "2026-11-21 13:00:00Z",
        "0000-11-21T13:00:00Z",
        "2026-11-21T13:00:00+25:00",
        "2026-11-21T13:00:00Zx",
        "\u{e9}",
    ];
    for value in no_instants {
        let in_query = value.replace('+', "%2B").replace(' ', "%20");
        refused(&get(&format!("{balance}?at={in_query}")).await, "at");
        let holds = format!("/api/v1/wallet/wallets/{KNOWN_WALLET}/holds");
        let body = json!({ "expires_at": value }).to_string();
        let call = edge.rest.post(&holds, body).token(&edge.token("usr_1"));
        refused(&call.send().await, "expires_at");
    }
    // A plus sign that is not encoded is a space.
    let unencoded = format!("{balance}?at=2026-11-21T14:00:00+01:00");
    refused(&get(&unencoded).await, "at");
}
