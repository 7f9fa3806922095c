//! Limits of bulk transfers.

use bursar_contracts::transaction::v1::bulk_service_client::BulkServiceClient;
use bursar_contracts::transaction::v1::{
    BulkTransferMode, BulkTransferOrder, BulkTransferState, CreateBulkTransferRequest,
    CreateBulkTransferResponse, LimitVelocity, LimitedMovement, PutLimitRuleRequest,
    TransactionState,
};
use tonic::{Response, Status};

use super::{exceeded, mine, put, rule};
use crate::support::calls::{euros, is_replayed};
use crate::support::person::Person;
use crate::support::{Mesh, away_from_midnight};

fn bulk(
    mode: BulkTransferMode,
    from: &str,
    to: &str,
    amounts: &[i64],
) -> CreateBulkTransferRequest {
    let order = |(index, amount): (usize, &i64)| BulkTransferOrder {
        item_key: format!("item-{index}"),
        from_wallet_id: from.to_owned(),
        to_wallet_id: to.to_owned(),
        amount: euros(*amount),
        description: "wages".to_owned(),
    };
    CreateBulkTransferRequest {
        mode: mode.into(),
        transfers: amounts.iter().enumerate().map(order).collect(),
    }
}

async fn create(
    mesh: &Mesh,
    person: &Person<'_>,
    request: &CreateBulkTransferRequest,
    key: &str,
) -> Result<Response<CreateBulkTransferResponse>, Status> {
    BulkServiceClient::new(mesh.service.channel())
        .create_bulk_transfer(person.request_with(request.clone(), key))
        .await
}

fn reasons(response: &CreateBulkTransferResponse) -> Vec<Option<&str>> {
    let failures = response.items.iter().map(|item| item.failure.as_ref());
    failures
        .map(|failure| Some(failure?.reason.as_str()))
        .collect()
}

/// Transfers that stand for themselves are let through as far as they fit, in their
/// order; the others fail with the limit's reason, and the ledger never hears of them.
#[tokio::test]
async fn independent_transfers_fit_one_by_one() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(450).await, bob.wallet().await);
    let daily = PutLimitRuleRequest {
        daily_minor: Some(500),
        ..rule()
    };
    put(&mesh, daily).await;
    let request = bulk(
        BulkTransferMode::Independent,
        &from,
        &to,
        &[300, 250, 100, 101, 100],
    );
    let response = create(&mesh, &alice, &request, "k").await;
    let response = response.expect("each has its result").into_inner();
    let told = response.bulk_transfer.as_ref().expect("it is told");
    assert_eq!(told.state(), BulkTransferState::PartlyCompleted);
    // The last fits the limit, and the wallet has not got it.
    assert_eq!(
        reasons(&response),
        [
            None,
            Some("TIER_DAILY_LIMIT_EXCEEDED"),
            None,
            Some("TIER_DAILY_LIMIT_EXCEEDED"),
            Some("INSUFFICIENT_FUNDS"),
        ]
    );
    assert_eq!(bob.balance(&to).await, (400, 0));
    let refused = &response.items[1].transaction_id;
    assert_eq!(
        mesh.transaction(refused).await.state(),
        TransactionState::Failed
    );
    let daily = mine(&mesh, &alice, LimitedMovement::Transfer).await.daily;
    assert_eq!(daily.expect("it is limited").used_minor, 400);

    let again = create(&mesh, &alice, &request, "k").await;
    let again = again.expect("the same answer");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.into_inner(), response);
    mesh.verify().await;
}

/// When none of them fits, the bulk transfer is over at once, with a result for each.
#[tokio::test]
async fn independent_transfers_may_all_be_refused() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let never = PutLimitRuleRequest {
        movement: LimitedMovement::Transfer.into(),
        velocity: Some(LimitVelocity {
            max_count: 0,
            window_seconds: 1,
        }),
        ..rule()
    };
    put(&mesh, never).await;
    let request = bulk(BulkTransferMode::Independent, &from, &to, &[1, 1]);
    let response = create(&mesh, &alice, &request, "k").await;
    let response = response.expect("each has its result").into_inner();
    let told = response.bulk_transfer.as_ref().expect("it is told");
    assert_eq!(told.state(), BulkTransferState::Failed);
    assert_eq!(reasons(&response), [Some("VELOCITY_LIMIT_EXCEEDED"); 2]);
    let again = create(&mesh, &alice, &request, "k").await;
    let again = again.expect("the same answer");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.into_inner(), response);
    assert_eq!(
        mesh.count("SELECT count(*) FROM bulk_transfer_checks")
            .await,
        0
    );
    mesh.verify().await;
}

/// How often counts within a bulk transfer, and what a limit refused there is no
/// attempt later.
#[tokio::test]
async fn how_often_counts_in_a_bulk_transfer() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let often = |max_count| PutLimitRuleRequest {
        movement: LimitedMovement::Transfer.into(),
        velocity: Some(LimitVelocity {
            max_count,
            window_seconds: 3_600,
        }),
        ..rule()
    };
    put(&mesh, often(2)).await;
    let request = bulk(BulkTransferMode::Independent, &from, &to, &[1, 1, 1, 1]);
    let response = create(&mesh, &alice, &request, "k").await;
    let response = response.expect("each has its result").into_inner();
    let refused = Some("VELOCITY_LIMIT_EXCEEDED");
    assert_eq!(reasons(&response), [None, None, refused, refused]);
    put(&mesh, often(3)).await;
    let response = create(&mesh, &alice, &request, "l").await;
    let response = response.expect("each has its result").into_inner();
    assert_eq!(reasons(&response), [None, refused, refused, refused]);
    mesh.verify().await;
}

/// Transfers that stand or fall together fit together or are not recorded at all: the
/// refusal names the first that does not fit, is kept for the key, and uses nothing.
#[tokio::test]
async fn atomic_transfers_fit_together() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let daily = PutLimitRuleRequest {
        daily_minor: Some(500),
        ..rule()
    };
    put(&mesh, daily).await;
    let request = bulk(BulkTransferMode::Atomic, &from, &to, &[300, 200, 1]);
    let first = create(&mesh, &alice, &request, "k").await;
    let first = first.expect_err("together they exceed the limit");
    let (reason, metadata) = exceeded(&first);
    assert_eq!(reason, "TIER_DAILY_LIMIT_EXCEEDED");
    assert_eq!((&*metadata["position"], &*metadata["used"]), ("2", "500"));
    let again = create(&mesh, &alice, &request, "k").await;
    let again = again.expect_err("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(exceeded(&again), exceeded(&first));
    assert_eq!(mesh.count("SELECT count(*) FROM bulk_transfers").await, 0);
    let fitting = bulk(BulkTransferMode::Atomic, &from, &to, &[300, 200]);
    let response = create(&mesh, &alice, &fitting, "l").await;
    let response = response.expect("they reach the limit").into_inner();
    let told = response.bulk_transfer.expect("it is told");
    assert_eq!(told.state(), BulkTransferState::Completed);
    assert_eq!(bob.balance(&to).await, (500, 0));
    mesh.verify().await;
}

/// An atomic bulk transfer that the ledger refuses gives back all that it reserved.
#[tokio::test]
async fn an_atomic_bulk_transfer_that_fails_gives_back() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    let daily = PutLimitRuleRequest {
        daily_minor: Some(500),
        ..rule()
    };
    put(&mesh, daily).await;
    let request = bulk(BulkTransferMode::Atomic, &from, &to, &[100, 400]);
    let failed = create(&mesh, &alice, &request, "k").await;
    failed.expect_err("there is not enough");
    let daily = mine(&mesh, &alice, LimitedMovement::Transfer).await.daily;
    assert_eq!(daily.expect("it is limited").used_minor, 0);
    mesh.verify().await;
}
