//! Payout accounts over REST. The shared mesh has no provider that pays to bank
//! accounts, so this is about who may ask for what, and what is told.

use serde_json::json;

use crate::support::{Edge, new_key, refused};

/// Where a person is paid out is registered at a provider that pays to bank accounts,
/// with fields that make sense; nobody has an account of somebody else's.
#[tokio::test]
async fn payout_accounts_over_rest() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let path = "/api/v1/transactions/payout-accounts";
    let listed = edge.get(path, &ada.token).await.ok();
    assert_eq!(listed["payout_accounts"], json!([]));
    let account = |provider: &str, number: &str| {
        json!({
            "provider": provider, "currency_code": "EUR", "sort_code": "000013",
            "account_number": number,
        })
    };
    let elsewhere = edge
        .pay(
            path,
            &ada.token,
            &new_key(),
            &account("sandbox", "0167421242"),
        )
        .await;
    refused(&elsewhere, 400, "PAYOUT_ACCOUNT_MISMATCH");
    assert_eq!(elsewhere.fields(), "provider");
    let unknown = edge
        .pay(path, &ada.token, &new_key(), &account("acme", "0167421242"))
        .await;
    refused(&unknown, 400, "PROVIDER_UNKNOWN");
    let malformed = edge
        .pay(path, &ada.token, &new_key(), &account("sandbox", "12"))
        .await;
    refused(&malformed, 400, "INVALID_FIELD");
    assert_eq!(malformed.fields(), "account_number");
    let strange = format!("{path}/poa_01900000-0000-7000-8000-000000000000");
    let found = edge.get(&strange, &ada.token).await;
    refused(&found, 404, "PAYOUT_ACCOUNT_NOT_FOUND");
    let wallet = edge.wallet(&ada, "EUR").await;
    let body = json!({
        "wallet_id": wallet, "amount": {"currency_code": "EUR", "minor_units": "100"},
        "payout_account_id": "poa_01900000-0000-7000-8000-000000000000",
    });
    let withdrawals = "/api/v1/transactions/withdrawals";
    let paid = edge.pay(withdrawals, &ada.token, &new_key(), &body).await;
    refused(&paid, 404, "PAYOUT_ACCOUNT_NOT_FOUND");
}
