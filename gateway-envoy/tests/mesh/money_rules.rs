//! The rules that operators make about movements, and what users feel of them, by REST:
//! fees, quotes, exchange rates, limits, fraud rules and schedules.
//!
//! The tests share one platform, so each rule here is for a currency, a user or an
//! amount that no other test has.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::support::{Edge, Person, away_from_midnight, eventually, send, text, transfer};

const TRANSFERS: &str = "/api/v1/transactions/transfers";

fn money(currency: &str, minor: i64) -> Value {
    json!({"currency_code": currency, "minor_units": minor.to_string()})
}

fn transfer_of(from: &str, to: &str, amount: &Value) -> Value {
    let mut body = transfer(from, to, 1);
    body["amount"] = amount.clone();
    body
}

impl Edge {
    /// A wallet of a currency with money in it.
    async fn funded_in(&self, person: &Person, currency: &str, minor: i64) -> String {
        let wallet = self.wallet(person, currency).await;
        let amount = money(currency, minor);
        let body = json!({"wallet_id": wallet, "amount": amount, "provider": "sandbox"});
        let path = "/api/v1/transactions/deposits";
        let paid = self.pay_until_answered(path, &person.token, &body).await;
        assert_eq!(
            paid.ok()["transaction"]["state"],
            "TRANSACTION_STATE_COMPLETED"
        );
        wallet
    }
}

/// A quote tells the fee before, the transfer takes it also after the rule is gone, and
/// the transaction shows it; the same quote does not count twice.
#[tokio::test]
async fn a_quote_keeps_its_fee() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let operator = edge.admin().await;
    let rule = json!({
        "type": "TRANSACTION_TYPE_TRANSFER", "currency_code": "NOK", "fixed_minor": "30",
        "basis_points": 100, "payer": "FEE_PAYER_SENDER", "rounding": "FEE_ROUNDING_UP",
    });
    let rules = "/api/v1/transactions/fee-rules";
    let denied = edge.pay_until_answered(rules, &ada.token, &rule).await;
    assert_eq!(denied.status, 403, "{:#}", denied.json);
    let made = edge.pay_until_answered(rules, &operator, &rule).await.ok();
    let rule = text(&made["fee_rule"]["fee_rule_id"]);

    let from = edge.funded_in(&ada, "NOK", 5_000).await;
    let to = edge.wallet(&bob, "NOK").await;
    let amount = money("NOK", 1_001);
    let wanted = json!({
        "type": "TRANSACTION_TYPE_TRANSFER", "amount": amount,
        "from_wallet_id": from, "to_wallet_id": to,
    });
    let quotes = "/api/v1/transactions/quotes";
    let quote = edge.pay_until_answered(quotes, &ada.token, &wanted).await;
    let quote = &quote.ok()["quote"];
    assert_eq!(quote["fee"]["amount_minor"], "41", "{quote:#}");
    assert_eq!(quote["debited"], money("NOK", 1_042));
    let archive = format!("{rules}/{rule}:archive");
    edge.pay_until_answered(&archive, &operator, &json!({}))
        .await
        .ok();

    let mut body = transfer_of(&from, &to, &amount);
    body["quote_id"] = quote["quote_id"].clone();
    let sent = edge.pay_until_answered(TRANSFERS, &ada.token, &body).await;
    let sent = &sent.ok()["transaction"];
    assert_eq!(sent["fee"]["amount_minor"], "41", "{sent:#}");
    assert_eq!(sent["fee"]["fee_rule_id"], rule);
    assert_eq!(edge.balance(&ada.token, &from).await, [3_958, 0, 0]);
    assert_eq!(edge.balance(&bob.token, &to).await, [1_001, 0, 0]);
    let again = edge.pay_until_answered(TRANSFERS, &ada.token, &body).await;
    assert_eq!(again.reason(), "QUOTE_USED", "{:#}", again.json);
}

/// Money changes its currency at the quoted rate, and not without a quote.
#[tokio::test]
async fn a_quote_changes_the_currency() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let operator = edge.admin().await;
    let observed = OffsetDateTime::now_utc().format(&Rfc3339).expect("a time");
    let rate = json!({
        "from_currency_code": "DKK", "to_currency_code": "SEK", "rate": "1.50",
        "source": "test", "observed_at": observed,
    });
    let rates = "/api/v1/transactions/exchange-rates";
    edge.pay_until_answered(rates, &operator, &rate).await.ok();
    let from = edge.funded_in(&ada, "DKK", 2_000).await;
    let to = edge.wallet(&bob, "SEK").await;
    let amount = money("DKK", 1_001);
    let body = transfer_of(&from, &to, &amount);
    let refused = edge.pay_until_answered(TRANSFERS, &ada.token, &body).await;
    assert_eq!(refused.reason(), "CURRENCY_MISMATCH", "{:#}", refused.json);

    let wanted = json!({
        "type": "TRANSACTION_TYPE_TRANSFER", "amount": amount,
        "from_wallet_id": from, "to_wallet_id": to, "to_currency_code": "SEK",
    });
    let quotes = "/api/v1/transactions/quotes";
    let quote = edge.pay_until_answered(quotes, &ada.token, &wanted).await;
    let quote = &quote.ok()["quote"];
    assert_eq!(quote["credited"], money("SEK", 1_501), "{quote:#}");
    let mut body = body;
    body["quote_id"] = quote["quote_id"].clone();
    let sent = edge.pay_until_answered(TRANSFERS, &ada.token, &body).await;
    let sent = &sent.ok()["transaction"];
    assert_eq!(
        sent["conversion"]["amount"],
        money("SEK", 1_501),
        "{sent:#}"
    );
    assert_eq!(edge.balance(&ada.token, &from).await, [999, 0, 0]);
    assert_eq!(edge.balance(&bob.token, &to).await, [1_501, 0, 0]);
}

/// A user's limit holds from its making on, is shown to the user, and ends with the rule.
#[tokio::test]
async fn a_limit_holds_and_is_shown() {
    away_from_midnight().await;
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let operator = edge.admin().await;
    let from = edge.funded_in(&ada, "EUR", 1_000).await;
    let to = edge.wallet(&bob, "EUR").await;
    let rule = json!({
        "user_id": ada.user_id, "movement": "LIMITED_MOVEMENT_TRANSFER",
        "currency_code": "EUR", "daily_minor": "100", "note": "on request",
    });
    let rules = "/api/v1/transactions/limit-rules";
    let made = edge.pay_until_answered(rules, &operator, &rule).await.ok();
    let send = async |minor| {
        let body = transfer(&from, &to, minor);
        edge.pay_until_answered(TRANSFERS, &ada.token, &body).await
    };
    send(60).await.ok();
    let over = send(41).await;
    assert_eq!(
        over.reason(),
        "TIER_DAILY_LIMIT_EXCEEDED",
        "{:#}",
        over.json
    );
    let shown = edge
        .get("/api/v1/transactions/limits", &ada.token)
        .await
        .ok();
    let told = shown.to_string();
    assert!(told.contains(r#""left_minor":"40""#), "{shown:#}");
    let id = text(&made["rule"]["limit_rule_id"]);
    let archive = format!("{rules}/{id}:archive");
    edge.pay_until_answered(&archive, &operator, &json!({}))
        .await
        .ok();
    send(41).await.ok();
    assert_eq!(edge.balance(&bob.token, &to).await, [101, 0, 0]);
}

/// What a fraud rule stops waits for a person: approved it goes on, rejected it fails,
/// and no money moves before.
#[tokio::test]
async fn a_fraud_case_is_decided() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let operator = edge.admin().await;
    let from = edge.funded_in(&ada, "CHF", 10_000).await;
    let to = edge.wallet(&bob, "CHF").await;
    let rule = "/api/v1/transactions/fraud/rules/swiss_francs";
    let draft = |expression: &str| {
        json!({"rule": {
            "expression": expression, "outcome": "FRAUD_OUTCOME_REVIEW",
            "mode": "FRAUD_RULE_MODE_ACTIVE", "stage": "FRAUD_STAGE_BEFORE",
        }})
    };
    let bad = edge
        .put(rule, &operator, &draft("transaction.amount >"))
        .await;
    assert_eq!(bad.fields(), "rule.expression", "{:#}", bad.json);
    let only_here = "transaction.type == 'TRANSFER' && transaction.currency_code == 'CHF'";
    edge.put(rule, &operator, &draft(only_here)).await.ok();

    let mut seen = Vec::new();
    for decision in ["APPROVE", "REJECT"] {
        let body = transfer_of(&from, &to, &money("CHF", 4_000));
        let stopped = edge.pay_until_answered(TRANSFERS, &ada.token, &body).await;
        let stopped = &stopped.ok()["transaction"];
        assert_eq!(stopped["state"], "TRANSACTION_STATE_MANUAL_REVIEW");
        let id = text(&stopped["transaction_id"]);
        let before = edge.balance(&bob.token, &to).await;
        let user = &ada.user_id;
        let list = format!("/api/v1/transactions/fraud/cases?user_id={user}");
        let cases = edge.get(&list, &operator).await.ok();
        let of_it = cases["cases"].as_array().expect("a list").iter();
        let case = of_it
            .filter(|case| case["transaction_id"] == id)
            .map(|case| text(&case["case_id"]))
            .next()
            .expect("it has a case");
        let decide = format!("/api/v1/transactions/fraud/cases/{case}:decide");
        let body = json!({"decision": format!("FRAUD_DECISION_{decision}"), "reason": "the customer was asked"});
        edge.pay_until_answered(&decide, &operator, &body)
            .await
            .ok();
        let path = format!("/api/v1/transactions/{id}");
        let ended = eventually("the transfer ends", async || {
            let found = edge.get(&path, &ada.token).await.ok();
            let state = text(&found["transaction"]["state"]);
            (state != "TRANSACTION_STATE_MANUAL_REVIEW" && state != "TRANSACTION_STATE_PENDING")
                .then_some(state)
        })
        .await;
        seen.push((before, ended));
    }
    let gone = edge.request("DELETE", rule).bearer_auth(&operator);
    let gone = send(gone).await;
    assert!((200..300).contains(&gone.status), "{:#}", gone.json);
    let expected = [
        ([0, 0, 0], "TRANSACTION_STATE_COMPLETED".to_owned()),
        ([4_000, 0, 0], "TRANSACTION_STATE_FAILED".to_owned()),
    ];
    assert_eq!(seen, expected);
    assert_eq!(edge.balance(&bob.token, &to).await, [4_000, 0, 0]);
    assert_eq!(edge.balance(&ada.token, &from).await, [6_000, 0, 0]);
}

/// A planned transfer is made at its time, once, and is listed as a run; one that was
/// cancelled is not.
#[tokio::test]
async fn a_planned_transfer_is_made() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let from = edge.funded_in(&ada, "EUR", 100).await;
    let to = edge.wallet(&bob, "EUR").await;
    let schedules = "/api/v1/transactions/schedules";
    let plan = async |after: Duration| {
        let start = OffsetDateTime::now_utc() + after;
        let mut body = transfer(&from, &to, 30);
        body["start_at"] = json!(start.format(&Rfc3339).expect("a time"));
        let planned = edge.pay_until_answered(schedules, &ada.token, &body).await;
        text(&planned.ok()["schedule"]["schedule_id"])
    };
    let (soon, never) = (plan(Duration::SECOND).await, plan(Duration::HOUR).await);
    let cancel = format!("{schedules}/{never}:cancel");
    edge.pay_until_answered(&cancel, &ada.token, &json!({}))
        .await
        .ok();
    let runs = format!("{schedules}/{soon}/runs");
    let run = eventually("the run has ended", async || {
        let found = edge.get(&runs, &ada.token).await.ok();
        let run = found["runs"].get(0)?.clone();
        (run["state"] == "SCHEDULE_RUN_STATE_COMPLETED").then_some(run)
    })
    .await;
    assert_eq!(run["number"], 1, "{run:#}");
    assert_eq!(edge.balance(&bob.token, &to).await, [30, 0, 0]);
    let path = format!("{schedules}/{never}");
    let cancelled = edge.get(&path, &ada.token).await.ok();
    assert_eq!(cancelled["schedule"]["state"], "SCHEDULE_STATE_CANCELLED");
    assert_eq!(edge.get(&path, &bob.token).await.status, 404);
}
