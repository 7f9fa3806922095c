//! What the payment provider does, seen through the gateway.

use std::time::Duration;

use bursar_devmesh::Mesh;
use serde_json::{Value, json};

use crate::support::{Answer, Edge, Person, eur, eventually, new_key, send, text};

const DEPOSITS: &str = "/api/v1/transactions/deposits";
const WITHDRAWALS: &str = "/api/v1/transactions/withdrawals";

async fn pay(edge: &Edge, path: &str, person: &Person, wallet: &str, minor: i64) -> Answer {
    let body = json!({"wallet_id": wallet, "amount": eur(minor), "provider": "sandbox"});
    edge.pay(path, &person.token, &new_key(), &body).await
}

/// Sets a fault for the next call of an amount that no other test uses.
async fn fault(operation: &str, kind: &str, amount_minor: i64) {
    let mesh = Mesh::from_environment().expect("a mesh");
    let sandbox = mesh.address("sandbox").expect("the mesh has a provider");
    let body =
        json!({"operation": operation, "kind": kind, "times": 1, "amount_minor": amount_minor});
    let response = reqwest::Client::new()
        .post(format!("http://{sandbox}/v1/faults"))
        .timeout(Duration::from_secs(5))
        .bearer_auth(mesh.sandbox_api_key().expect("the mesh has a key"))
        .json(&body)
        .send()
        .await
        .expect("the provider answers");
    assert!(
        response.status().is_success(),
        "{}",
        response.text().await.unwrap_or_default()
    );
}

/// Waits until a transaction is final.
async fn end_of(edge: &Edge, person: &Person, answer: Answer) -> Value {
    let id = text(&answer.ok()["transaction"]["transaction_id"]);
    eventually("the transaction's end", async || {
        let found = edge
            .get(&format!("/api/v1/transactions/{id}"), &person.token)
            .await
            .ok();
        let state = text(&found["transaction"]["state"]);
        let is_final = state.ends_with("_COMPLETED") || state.ends_with("_FAILED");
        is_final.then_some(found["transaction"].clone())
    })
    .await
}

/// A declined card is a refusal with the provider's word, and no money comes.
#[tokio::test]
async fn a_declined_deposit_fails() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet = edge.wallet(&ada, "EUR").await;
    fault("charge", "decline", 48_101).await;
    let refused = pay(&edge, DEPOSITS, &ada, &wallet, 48_101).await;
    assert_eq!(
        (refused.status, refused.reason()),
        (400, "PROVIDER_DECLINED")
    );
    assert!(refused.detail("google.rpc.ErrorInfo")["metadata"]["decline_code"].is_string());
    assert_eq!(edge.available(&ada, &wallet).await, 0);
}

/// A charge whose answer was lost is unknown at first and completed once it
/// was asked about; the money is there once.
#[tokio::test]
async fn a_lost_charge_is_found_again() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet = edge.wallet(&ada, "EUR").await;
    fault("charge", "lost_response", 48_202).await;
    let answer = pay(&edge, DEPOSITS, &ada, &wallet, 48_202).await;
    assert_eq!(
        answer.json["transaction"]["state"], "TRANSACTION_STATE_UNKNOWN",
        "{:#}",
        answer.json
    );
    let ended = end_of(&edge, &ada, answer).await;
    assert_eq!(ended["state"], "TRANSACTION_STATE_COMPLETED");
    assert_eq!(edge.available(&ada, &wallet).await, 48_202);
}

/// A payout whose answer was lost keeps the money held until it is known, and
/// is paid once.
#[tokio::test]
async fn a_lost_payout_is_found_again() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet = edge.funded(&ada, 50_000).await;
    fault("payout", "lost_response", 48_303).await;
    let answer = pay(&edge, WITHDRAWALS, &ada, &wallet, 48_303).await;
    assert_eq!(
        answer.json["transaction"]["state"], "TRANSACTION_STATE_UNKNOWN",
        "{:#}",
        answer.json
    );
    let ended = end_of(&edge, &ada, answer).await;
    assert_eq!(ended["state"], "TRANSACTION_STATE_COMPLETED");
    let path = format!("/api/v1/wallet/wallets/{wallet}");
    let balance = edge.get(&path, &ada.token).await.ok()["wallet"]["balance"].clone();
    assert_eq!(
        balance,
        json!({"available_minor": "1697", "held_minor": "0", "bonus_minor": "0"})
    );
}

/// A declined payout gives the money back.
#[tokio::test]
async fn a_declined_payout_gives_the_money_back() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet = edge.funded(&ada, 50_000).await;
    fault("payout", "decline", 48_404).await;
    let refused = pay(&edge, WITHDRAWALS, &ada, &wallet, 48_404).await;
    assert_eq!(
        (refused.status, refused.reason()),
        (400, "PROVIDER_DECLINED")
    );
    assert_eq!(edge.available(&ada, &wallet).await, 50_000);
}

/// A callback that the provider did not sign is refused.
#[tokio::test]
async fn a_forged_callback_is_refused() {
    let edge = Edge::shared();
    let body = json!({"id": "evt_1", "type": "charge.succeeded", "reference": "txn_1"});
    let request = edge.request("POST", "/api/v1/transactions/callbacks/sandbox");
    let refused = send(request.json(&body)).await;
    assert!(
        (400..500).contains(&refused.status),
        "{}: {:#}",
        refused.status,
        refused.json
    );
}
