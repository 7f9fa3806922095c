//! The sandbox's own settlement files against the books that it was asked for.

use std::collections::BTreeSet;

use bursar_contracts::transaction::v1::{BreakReason, ListBreaksRequest};
use bursar_status::StatusExt;
use serde_json::{Value, json};

use crate::support::calls::{deposit, withdrawal};
use crate::support::{API_KEY, Mesh};

async fn plant(mesh: &Mesh, fault: Value) {
    let address = mesh.sandbox.http_address;
    let response = mesh
        .http
        .post(format!("http://{address}/v1/test/settlement_faults"))
        .bearer_auth(API_KEY)
        .json(&fault)
        .send()
        .await
        .expect("the sandbox answers");
    assert_eq!(response.status(), 201, "{:?}", response.text().await);
}

pub(crate) async fn file(mesh: &Mesh, day: &str) -> String {
    let address = mesh.sandbox.http_address;
    let response = mesh
        .http
        .get(format!("http://{address}/v1/settlements/{day}.csv"))
        .bearer_auth(API_KEY)
        .send()
        .await
        .expect("the sandbox answers");
    assert_eq!(response.status(), 200);
    response.text().await.expect("a file is text")
}

/// What really happened at the provider is matched without a break; what is
/// planted in its file is found and named; and a file whose sums are wrong is
/// refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_sandboxs_files_are_read_and_matched() {
    let mesh = Mesh::start().await;
    let person = mesh.person();
    let wallet = person.wallet().await;
    let mut ids = Vec::new();
    for amount in [1_000, 2_000, 3_000, 4_000, 5_000] {
        let made = person.deposit(deposit(&wallet, amount)).await;
        ids.push(made.expect("the provider takes it").transaction_id);
    }
    let paid = person.withdraw(withdrawal(&wallet, 700)).await;
    paid.expect("the provider pays it");
    let charge = mesh.at_provider("charges", &ids[0]).await;
    let finished = charge.expect("the provider has it")["finished_at"].clone();
    let day = &finished.as_str().expect("a time is text")[..10];

    let honest = mesh.reconcile(&file(&mesh, day).await, day).await;
    assert_eq!(honest.lines, 6);
    assert_eq!(mesh.breaks(ListBreaksRequest::default()).await, []);

    for statement in [
        "DELETE FROM settlement_match_transactions",
        "DELETE FROM settlement_lines",
        "DELETE FROM settlement_files",
    ] {
        sqlx::query(statement)
            .execute(&mesh.database.owner)
            .await
            .expect("the owner may forget");
    }
    for fault in [
        json!({"date": day, "kind": "drop_line", "reference": ids[0]}),
        json!({"date": day, "kind": "change_amount", "reference": ids[1], "delta_minor": 1}),
        json!({"date": day, "kind": "unknown_reference", "reference": ids[2]}),
        json!({"date": day, "kind": "duplicate_line", "reference": ids[3]}),
        json!({"date": day, "kind": "extra_line", "amount_minor": 50, "currency": "EUR"}),
    ] {
        plant(&mesh, fault).await;
    }
    mesh.reconcile(&file(&mesh, day).await, day).await;
    let breaks = mesh.breaks(ListBreaksRequest::default()).await;
    let told: BTreeSet<_> = breaks
        .iter()
        .map(|told| {
            let transaction = told.transaction.as_ref();
            let transaction = transaction.map(|transaction| transaction.transaction_id.clone());
            (told.reason(), transaction)
        })
        .collect();
    let of = |reason, number: usize| (reason, Some(ids[number].clone()));
    let planted = [
        of(BreakReason::MissingAtProvider, 0),
        of(BreakReason::AmountMismatch, 1),
        of(BreakReason::UnknownReference, 2),
        of(BreakReason::DuplicateLine, 3),
        (BreakReason::UnknownReference, None),
    ];
    assert_eq!(told, BTreeSet::from(planted));
    assert_eq!(breaks.len(), 5);

    plant(&mesh, json!({"date": day, "kind": "wrong_trailer"})).await;
    let refused = mesh.import(&file(&mesh, day).await, day).await;
    let refused = refused.expect_err("the sums are wrong");
    let details = refused.get_error_details();
    let info = details.error_info().expect("an error has its reason");
    assert_eq!(info.metadata["problem"], "sum_differs");
    assert_eq!(info.metadata["column"], "gross_minor");
}
