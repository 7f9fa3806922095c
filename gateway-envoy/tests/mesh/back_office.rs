//! What operators move in customers' wallets, by REST, and what the owners see of it.

use serde_json::{Value, json};

use crate::support::{Edge, Person, eur, new_key, refused, text};

const ADJUSTMENTS: &str = "/api/v1/transactions/adjustments";
const BONUS_GRANTS: &str = "/api/v1/transactions/bonus-grants";

/// The transaction as its wallet's owner finds it, one by one and in the list.
async fn seen(edge: &Edge, owner: &Person, transaction: &Value) -> Value {
    let id = text(&transaction["transaction_id"]);
    let path = format!("/api/v1/transactions/{id}");
    let found = edge.get(&path, &owner.token).await.ok()["transaction"].clone();
    let listed = edge.get("/api/v1/transactions", &owner.token).await.ok();
    assert_eq!(listed["transactions"][0], found, "{listed:#}");
    found
}

/// An operator takes money from a wallet once per key; the owner sees it, and may not do it.
#[tokio::test]
async fn an_operator_adjusts_a_wallet() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let operator = edge.admin().await;
    let wallet = edge.funded(&ada, 1_000).await;
    let body = json!({
        "wallet_id": wallet, "amount": eur(300),
        "direction": "ADJUSTMENT_DIRECTION_DEBIT",
        "reason": "ADJUSTMENT_REASON_CHARGEBACK", "description": "claimed back by the bank",
    });
    let denied = edge.pay(ADJUSTMENTS, &ada.token, &new_key(), &body).await;
    assert_eq!(denied.status, 403, "{:#}", denied.json);
    let key = new_key();
    let done = edge.pay(ADJUSTMENTS, &operator, &key, &body).await.ok();
    let again = edge.pay(ADJUSTMENTS, &operator, &key, &body).await.ok();
    assert_eq!(again, done);
    let done = &done["transaction"];
    assert_eq!(done["state"], "TRANSACTION_STATE_COMPLETED", "{done:#}");
    assert_eq!(seen(&edge, &ada, done).await, *done);
    assert_eq!(done["type"], "TRANSACTION_TYPE_ADJUSTMENT");
    assert_eq!(done["adjustment_reason"], "ADJUSTMENT_REASON_CHARGEBACK");
    assert_eq!(edge.balance(&ada.token, &wallet).await, [700, 0, 0]);

    let mut more = body;
    more["amount"] = eur(701);
    let over = edge.pay(ADJUSTMENTS, &operator, &new_key(), &more).await;
    refused(&over, 400, "INSUFFICIENT_FUNDS");
}

/// An operator grants bonus money out of a campaign's budget; the owner sees the
/// transaction and the money, and what is not in the budget is refused with that reason.
#[tokio::test]
async fn an_operator_grants_bonus_money() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let operator = edge.admin().await;
    let wallet = edge.wallet(&ada, "EUR").await;
    let campaign = json!({"name": "Spring", "currency_code": "EUR", "budget_minor": "500"});
    let campaigns = "/api/v1/wallet/bonus-campaigns";
    let campaign = edge.pay(campaigns, &operator, &new_key(), &campaign).await;
    let campaign = text(&campaign.ok()["campaign"]["campaign_id"]);
    let granting =
        |minor| json!({"campaign_id": campaign, "wallet_id": wallet, "amount": eur(minor)});
    let body = granting(200);
    let denied = edge.pay(BONUS_GRANTS, &ada.token, &new_key(), &body).await;
    assert_eq!(denied.status, 403, "{:#}", denied.json);
    let done = edge.pay(BONUS_GRANTS, &operator, &new_key(), &body).await;
    let done = &done.ok()["transaction"];
    assert_eq!(done["state"], "TRANSACTION_STATE_COMPLETED", "{done:#}");
    assert_eq!(seen(&edge, &ada, done).await, *done);
    assert_eq!(done["type"], "TRANSACTION_TYPE_BONUS_GRANT");
    assert_eq!(done["campaign_id"], campaign);
    assert_eq!(edge.balance(&ada.token, &wallet).await, [0, 0, 200]);
    let grant = text(&done["bonus_grant_id"]);
    let grant = format!("/api/v1/wallet/bonus-grants/{grant}");
    let grant = edge.get(&grant, &ada.token).await.ok();
    assert_eq!(grant["grant"]["amount_minor"], "200", "{grant:#}");

    let over = edge
        .pay(BONUS_GRANTS, &operator, &new_key(), &granting(301))
        .await;
    refused(&over, 400, "BONUS_BUDGET_EXHAUSTED");
}
