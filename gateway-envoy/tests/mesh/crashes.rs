//! Processes killed in the middle of work, on a mesh of their own: what was
//! acknowledged is there once, and nothing is there twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bursar_devmesh::{Mesh, MeshOptions};
use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use tokio::sync::Notify;

use crate::support::{Edge, Person, minor, text, transfer};

const TRANSFERS: usize = 500;
const AT_ONCE: usize = 16;
const HEAL: Duration = Duration::from_secs(60);

/// Kills `victim` once a fifth of the transfers are acknowledged, lets every
/// client try again with its key, and accounts for every transfer.
async fn kill_in_the_middle(victim: &'static str) {
    let mesh = Mesh::start(MeshOptions::whole(), |_| {})
        .await
        .expect("a mesh");
    let mesh = Arc::new(mesh);
    let edge = Edge::of(&mesh);
    let ada = edge.person().await;
    let from = edge.funded(&ada, 1_000_000).await;
    let to = edge.wallet(&ada, "EUR").await;

    let underway = Arc::new(Notify::new());
    let killer = {
        let (mesh, underway) = (Arc::clone(&mesh), Arc::clone(&underway));
        tokio::spawn(async move {
            underway.notified().await;
            let killed = tokio::task::spawn_blocking({
                let mesh = Arc::clone(&mesh);
                move || mesh.kill(victim).expect("the victim ran")
            })
            .await
            .expect("joined");
            mesh.wait_replaced(victim, &killed, HEAL)
                .await
                .expect("started again");
        })
    };

    let mut acknowledged = Vec::new();
    let mut sending = stream::iter(0..TRANSFERS)
        .map(|_| persistent_transfer(&edge, &ada, &from, &to))
        .buffer_unordered(AT_ONCE);
    while let Some(id) = sending.next().await {
        acknowledged.push(id);
        if acknowledged.len() == TRANSFERS / 5 {
            underway.notify_one();
        }
    }
    drop(sending);
    killer.await.expect("the victim came back");
    mesh.wait_healthy(HEAL).await.expect("healthy");

    let ids: HashSet<&String> = acknowledged.iter().collect();
    assert_eq!(
        ids.len(),
        TRANSFERS,
        "two keys were answered with one transaction"
    );
    let moved = i64::try_from(TRANSFERS).expect("small");
    assert_eq!(edge.available(&ada, &from).await, 1_000_000 - moved);
    assert_eq!(edge.available(&ada, &to).await, moved);
    let credited = credits(&edge, &ada, &to).await;
    assert_eq!(
        credited.len(),
        TRANSFERS,
        "a transfer is in the ledger twice, or not"
    );
    assert!(
        ids.iter().all(|id| credited.contains(*id)),
        "an acknowledged transfer is lost"
    );

    let home = mesh.home().path().to_owned();
    let verdict = tokio::task::spawn_blocking(move || bursar_devmesh::verify(&home))
        .await
        .expect("joined")
        .expect("the invariants can be checked");
    assert!(verdict.holds(), "{verdict}");
    let mesh = Arc::into_inner(mesh).expect("nobody else holds the mesh");
    tokio::task::spawn_blocking(move || mesh.stop())
        .await
        .expect("joined")
        .expect("stopped");
}

/// Sends one transfer until it is acknowledged; returns the transaction's id.
async fn persistent_transfer(edge: &Edge, person: &Person, from: &str, to: &str) -> String {
    let body = transfer(from, to, 1);
    let path = "/api/v1/transactions/transfers";
    let answer = edge
        .pay_until_answered(path, &person.token, &body)
        .await
        .ok();
    let transaction = &answer["transaction"];
    assert_eq!(
        transaction["state"], "TRANSACTION_STATE_COMPLETED",
        "{transaction:#}"
    );
    text(&transaction["transaction_id"])
}

/// The transactions that credited a wallet; panics when one did so twice.
async fn credits(edge: &Edge, person: &Person, wallet: &str) -> HashSet<String> {
    let mut seen = HashSet::new();
    let mut page_token = String::new();
    loop {
        let path = format!(
            "/api/v1/wallet/wallets/{wallet}/entries?page_size=100&page_token={page_token}"
        );
        let page = edge.get(&path, &person.token).await.ok();
        for entry in page["entries"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            assert_eq!(minor(&entry["amount_minor"]), 1);
            let id = text(&entry["transaction_id"]);
            assert!(seen.insert(id.clone()), "{id} credited the wallet twice");
        }
        page_token = page["next_page_token"]
            .as_str()
            .map(str::to_owned)
            .unwrap_or_default();
        if page_token.is_empty() || page["entries"] == Value::Null {
            return seen;
        }
    }
}

/// kill -9 of wallet in the middle of 500 transfers.
#[tokio::test]
async fn wallet_killed_in_the_middle() {
    kill_in_the_middle("wallet").await;
}

/// kill -9 of transaction in the middle of 500 transfers.
#[tokio::test]
async fn transaction_killed_in_the_middle() {
    kill_in_the_middle("transaction").await;
}

/// kill -9 of PostgreSQL in the middle of 500 transfers.
#[tokio::test]
async fn postgres_killed_in_the_middle() {
    kill_in_the_middle("postgres").await;
}
