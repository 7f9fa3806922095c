//! The books as operators see them: the trial balance, the search for drift,
//! and rebuilds of what is derived from the entries.

use std::time::Duration;

use bursar_contracts::wallet::v1::projection_service_client::ProjectionServiceClient;
use bursar_contracts::wallet::v1::{
    DetectDriftRequest, GetRebuildRequest, GetTrialBalanceRequest, RebuildProjectionsRequest,
    RebuildStatus,
};
use serde_json::json;

use crate::grpc;
use crate::holds::Counter;
use crate::support::{eventually, eventually_within, minor, refused, text};

const TRIAL_BALANCE: &str = "/api/v1/wallet/trial-balance";
const DRIFT: &str = "/api/v1/wallet/projections/drift";
const REBUILDS: &str = "/api/v1/wallet/projections/rebuilds";

/// How long all wallets of the mesh may take; a rebuild leaves most of the time
/// to others.
const WHOLE_REBUILD: Duration = Duration::from_secs(120);

/// Every currency's debits and credits are equal, whatever the other tests do
/// meanwhile.
#[tokio::test]
async fn the_trial_balance_is_balanced() {
    let counter = Counter::open(1_234).await;
    let (edge, operator) = (&counter.edge, &counter.operator);
    let found = edge.get(TRIAL_BALANCE, operator).await.ok();
    let balances = found["trial_balances"].as_array().expect("a list");
    assert!(balances.iter().any(|one| one["currency_code"] == "EUR"));
    for balance in balances {
        assert_eq!(balance["balanced"], true, "{balance:#}");
        assert_eq!(balance["debit_minor"], balance["credit_minor"]);
        let lines = balance["lines"].as_array().expect("a list");
        for side in ["debit_minor", "credit_minor"] {
            let sum: i64 = lines.iter().map(|line| minor(&line[side])).sum();
            assert_eq!(sum, minor(&balance[side]), "{balance:#}");
        }
    }
    let path = format!("{TRIAL_BALANCE}?currency_code=EUR");
    let euros = edge.get(&path, operator).await.ok();
    assert_eq!(euros["trial_balances"].as_array().map(Vec::len), Some(1));
    let nonsense = edge
        .get(&format!("{TRIAL_BALANCE}?currency_code=euro"), operator)
        .await;
    refused(&nonsense, 400, "INVALID_FIELD");
    assert_eq!(nonsense.fields(), "currency_code");
}

/// A wallet's projections agree with its entries, and rebuilding them, dry or
/// not, finds nothing to mend.
#[tokio::test]
async fn projections_agree_with_the_entries() {
    let counter = Counter::open(1_000).await;
    let (edge, operator, wallet) = (&counter.edge, &counter.operator, &counter.wallet);
    edge.transfer(&counter.ada, wallet, &counter.till, 10)
        .await
        .ok();
    let path = format!("{DRIFT}?wallet_id={wallet}");
    let found = edge.get(&path, operator).await.ok();
    assert_eq!(found["wallets_checked"], "1", "{found:#}");
    assert_eq!(found["differences"], "0", "{found:#}");
    assert_eq!(found["drifts"], json!([]));
    for dry_run in [true, false] {
        let body = json!({"wallet_id": wallet, "dry_run": dry_run});
        let rebuilt = edge.post(REBUILDS, operator, &body).await.ok();
        let rebuild = &rebuilt["rebuild"];
        assert_eq!(rebuild["status"], "REBUILD_STATUS_COMPLETED", "{rebuild:#}");
        assert_eq!(rebuild["dry_run"], dry_run);
        assert_eq!(rebuild["wallets_checked"], "1");
        for count in ["differences", "balance_differences", "wallets_rebuilt"] {
            assert_eq!(rebuild[count], "0", "{rebuild:#}");
        }
        let path = format!("{REBUILDS}/{}", text(&rebuild["rebuild_id"]));
        assert_eq!(edge.get(&path, operator).await.ok()["rebuild"], *rebuild);
    }
    let listed = edge
        .get(&format!("{REBUILDS}?page_size=100"), operator)
        .await
        .ok();
    let rebuilds = listed["rebuilds"].as_array().expect("a list");
    assert!(
        rebuilds
            .iter()
            .any(|rebuild| rebuild["wallet_id"] == wallet.as_str())
    );
}

/// Users run none of it.
#[tokio::test]
async fn the_books_are_the_operators() {
    let counter = Counter::open(1).await;
    let (edge, token, wallet) = (&counter.edge, &counter.ada.token, &counter.wallet);
    let id = format!("prb_{}", uuid::Uuid::now_v7());
    let (drift, one) = (
        format!("{DRIFT}?wallet_id={wallet}"),
        format!("{REBUILDS}/{id}"),
    );
    for path in [TRIAL_BALANCE, &drift, REBUILDS, &one] {
        refused(&edge.get(path, token).await, 403, "PERMISSION_DENIED");
    }
    let body = json!({"wallet_id": wallet});
    refused(
        &edge.post(REBUILDS, token, &body).await,
        403,
        "PERMISSION_DENIED",
    );
    let unknown = edge.get(&one, &counter.operator).await;
    refused(&unknown, 404, "REBUILD_NOT_FOUND");
}

/// All wallets by gRPC: the rebuild runs in the background, a second one is
/// refused meanwhile, and no balance differs from its entries.
#[tokio::test]
async fn all_wallets_are_rebuilt_over_grpc() {
    let counter = Counter::open(1).await;
    let operator = &counter.operator;
    let projections = ProjectionServiceClient::new(counter.edge.channel());
    let balance = grpc::with(GetTrialBalanceRequest::default(), operator);
    let balance = projections.clone().get_trial_balance(balance).await;
    let balances = balance.expect("read").into_inner().trial_balances;
    assert!(balances.iter().all(|balance| balance.balanced));

    let dry = RebuildProjectionsRequest {
        dry_run: true,
        ..RebuildProjectionsRequest::default()
    };
    let begun = projections
        .clone()
        .rebuild_projections(grpc::with(dry, operator))
        .await
        .expect("begun")
        .into_inner()
        .rebuild
        .expect("a rebuild");
    let done = eventually_within(WHOLE_REBUILD, "the rebuild's end", async || {
        let get = GetRebuildRequest {
            rebuild_id: begun.rebuild_id.clone(),
        };
        let found = projections
            .clone()
            .get_rebuild(grpc::with(get, operator))
            .await;
        let found = found.expect("read").into_inner().rebuild?;
        (found.status() == RebuildStatus::Completed).then_some(found)
    });
    let done = done.await;
    assert!(done.wallets_checked >= 2, "{done:?}");
    assert_eq!(done.balance_differences, 0, "{done:?}");
    let page = eventually("a page of all wallets", async || {
        let detect = grpc::with(DetectDriftRequest::default(), operator);
        let found = projections.clone().detect_drift(detect).await;
        Some(found.expect("compared").into_inner())
    });
    assert_eq!(page.await.differences, 0);
}
