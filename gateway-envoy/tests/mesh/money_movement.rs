//! What can be done with transactions besides making single ones, by REST:
//! refunds, bulk transfers, explanations, watching, and settlement files.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Edge, Person, eur, minor, new_key, send, text, transfer};

/// How long a line of a watch may take.
const NEXT_LINE: Duration = Duration::from_secs(20);

/// Deposits into a wallet; returns the transaction's id.
async fn deposit(edge: &Edge, person: &Person, wallet: &str, amount: i64) -> String {
    let body = json!({"wallet_id": wallet, "amount": eur(amount), "provider": "sandbox"});
    let path = "/api/v1/transactions/deposits";
    let paid = edge.pay_until_answered(path, &person.token, &body).await;
    let paid = paid.ok();
    assert_eq!(
        paid["transaction"]["state"], "TRANSACTION_STATE_COMPLETED",
        "{paid:#}"
    );
    text(&paid["transaction"]["transaction_id"])
}

/// The refund of a deposit that was spent takes what is there; the rest becomes
/// a receivable, and no balance falls below zero. More is not given back.
#[tokio::test]
async fn a_spent_deposit_leaves_a_receivable() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let operator = edge.admin().await;
    let wallet = edge.wallet(&ada, "EUR").await;
    let bobs = edge.wallet(&bob, "EUR").await;
    let paid_in = deposit(&edge, &ada, &wallet, 1_000).await;
    edge.transfer(&ada, &wallet, &bobs, 900).await.ok();

    let path = format!("/api/v1/transactions/{paid_in}/refunds");
    let refused = edge.pay_until_answered(&path, &ada.token, &json!({})).await;
    assert_eq!(refused.status, 403, "{:#}", refused.json);
    let refunded = edge.pay_until_answered(&path, &operator, &json!({})).await;
    let refunded = &refunded.ok()["transaction"];
    assert_eq!(refunded["state"], "TRANSACTION_STATE_COMPLETED");
    assert_eq!(refunded["receivable"], eur(900));
    assert_eq!(edge.balance(&ada.token, &wallet).await, [0, 0, 0]);

    let again = edge.pay_until_answered(&path, &operator, &json!({})).await;
    assert_eq!(again.status, 400, "{:#}", again.json);
    let original = format!("/api/v1/transactions/{paid_in}");
    let original = edge.get(&original, &ada.token).await.ok();
    assert_eq!(original["transaction"]["refunded"], eur(1_000));
}

/// Who received a transfer can send a part of it back, and no more than that.
#[tokio::test]
async fn a_transfer_is_sent_back_in_parts() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let wallet = edge.funded(&ada, 500).await;
    let bobs = edge.wallet(&bob, "EUR").await;
    let sent = edge.transfer(&ada, &wallet, &bobs, 300).await.ok();
    let id = text(&sent["transaction"]["transaction_id"]);
    let path = format!("/api/v1/transactions/{id}/refunds");
    for (amount, status) in [(100, 200), (201, 400), (200, 200), (1, 400)] {
        let body = json!({ "amount": eur(amount) });
        let answer = edge.pay_until_answered(&path, &bob.token, &body).await;
        assert_eq!(answer.status, status, "{amount}: {:#}", answer.json);
    }
    assert_eq!(edge.balance(&ada.token, &wallet).await, [500, 0, 0]);
}

/// A bulk answers for each of its transfers, by its own name.
#[tokio::test]
async fn a_bulk_answers_for_each_transfer() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let wallet = edge.funded(&ada, 100).await;
    let bobs = edge.wallet(&bob, "EUR").await;
    let item = |name: &str, amount| {
        let mut item = transfer(&wallet, &bobs, amount);
        item["item_key"] = json!(name);
        item
    };
    let body = json!({
        "mode": "BULK_TRANSFER_MODE_INDEPENDENT",
        "transfers": [item("fits", 60), item("does not", 60), item("still-fits", 40)],
    });
    let path = "/api/v1/transactions/bulk-transfers";
    let refused = edge.pay_until_answered(path, &ada.token, &body).await;
    assert_eq!(
        refused.fields(),
        "transfers[1].item_key",
        "{:#}",
        refused.json
    );
    let body = json!({
        "mode": "BULK_TRANSFER_MODE_INDEPENDENT",
        "transfers": [item("fits", 60), item("not", 60), item("still-fits", 40)],
    });
    let made = edge.pay_until_answered(path, &ada.token, &body).await.ok();
    let id = text(&made["bulk_transfer"]["bulk_transfer_id"]);
    let items = format!("{path}/{id}/items");
    let items = edge.get(&items, &ada.token).await.ok();
    let told: Vec<(String, String)> = items["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| (text(&item["item_key"]), text(&item["state"])))
        .collect();
    let expected = [
        ("fits", "COMPLETED"),
        ("not", "FAILED"),
        ("still-fits", "COMPLETED"),
    ]
    .map(|(name, state)| (name.to_owned(), format!("TRANSACTION_STATE_{state}")));
    assert_eq!(told, expected);
    assert_eq!(edge.balance(&bob.token, &bobs).await, [100, 0, 0]);
}

/// An owner is told how a deposit came about, and nobody else is.
#[tokio::test]
async fn a_deposit_is_explained() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let wallet = edge.wallet(&ada, "EUR").await;
    let id = deposit(&edge, &ada, &wallet, 70).await;
    let path = format!("/api/v1/transactions/{id}:explain");
    let explained = &edge.get(&path, &ada.token).await.ok()["explanation"];
    let told = explained.to_string();
    for part in ["transaction.initiated", "transaction.completed"] {
        assert!(told.contains(part), "{part} in {explained:#}");
    }
    let steps = explained["steps"].as_array().expect("a list");
    let entries = steps.iter().any(|step| step.to_string().contains("\"70\""));
    assert!(entries, "the entries are told: {explained:#}");
    assert_eq!(edge.get(&path, &bob.token).await.status, 404);
}

/// A watch tells of a transfer while it lasts, and goes on from a cursor.
#[tokio::test]
async fn a_watch_tells_of_a_transfer() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let wallet = edge.funded(&ada, 100).await;
    let bobs = edge.wallet(&bob, "EUR").await;
    let mut watch = Watch::open(&edge, &bob.token, "").await;
    let first = watch.next().await;
    let sent = edge.transfer(&ada, &wallet, &bobs, 30).await.ok();
    let id = text(&sent["transaction"]["transaction_id"]);
    loop {
        let told = watch.next().await;
        if told["wallet"].to_string().contains("\"30\"") {
            break;
        }
    }
    let mut again = Watch::open(&edge, &bob.token, &text(&first["cursor"])).await;
    loop {
        let told = again.next().await;
        if told["transaction"].to_string().contains(&id) {
            break;
        }
    }
}

/// A watch over REST: a line of JSON a message.
struct Watch {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Watch {
    async fn open(edge: &Edge, token: &str, cursor: &str) -> Self {
        let request = edge.request("GET", "/api/v1/transactions:watch");
        let request = request.query(&[("cursor", cursor)]).bearer_auth(token);
        let response = request.send().await.expect("the gateway answers");
        assert_eq!(response.status(), 200);
        Self {
            response,
            buffer: Vec::new(),
        }
    }

    async fn next(&mut self) -> Value {
        let reading = async {
            loop {
                if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = self.buffer.drain(..=end).collect();
                    return serde_json::from_slice(&line).expect("a line of JSON");
                }
                let chunk = self.response.chunk().await.expect("the watch lasts");
                self.buffer.extend(chunk.expect("the watch has not ended"));
            }
        };
        tokio::time::timeout(NEXT_LINE, reading)
            .await
            .expect("a line comes")
    }
}

/// Settlement files come by both routes to their reader, which names what is
/// wrong with one; they are the operators'.
#[tokio::test]
async fn settlement_files_reach_their_reader() {
    let edge = Edge::shared();
    let (ada, operator) = (edge.person().await, edge.admin().await);
    let query = "provider=sandbox&settlement_date=2026-03-02";
    for path in [
        format!("/api/v1/transactions/settlement-files?{query}"),
        "/api/v1/transactions/reconciliation/sandbox/files/2026-03-02".to_owned(),
    ] {
        // No two files are alike, or the second would be the first.
        let bring = |token: &str| {
            let body = format!("no,settlement\n{},1\n", new_key());
            let request = edge
                .request("POST", &path)
                .header("content-type", "text/csv");
            send(request.bearer_auth(token).body(body))
        };
        let broken = bring(&operator).await;
        let told = (broken.status, broken.reason());
        assert_eq!(told, (400, "SETTLEMENT_FILE_INVALID"), "{:#}", broken.json);
        let info = broken.detail("google.rpc.ErrorInfo");
        assert_eq!(minor(&info["metadata"]["line"]), 1, "{info:#}");
        assert_eq!(bring(&ada.token).await.status, 403);
    }
}
