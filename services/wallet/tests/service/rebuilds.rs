//! Rebuilds: beside postings, across workers, asked for once and by those who may.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    BatchMode, DetectDriftRequest, GetRebuildRequest, ListRebuildsRequest, ProjectionRebuild,
    RebuildProjectionsRequest, RebuildStatus, Wallet,
};
use bursar_status::StatusExt;
use bursar_testkit::{TestDatabase, with_token};
use bursar_wallet::jobs::rebuild;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};
use uuid::Uuid;

use crate::bookkeeper::{Bookkeeper, all_wallets, assert_projected, project, without_projector};
use crate::drift_desk::{all_drift, completed, edit, get};
use crate::support::{applied, deposit, reason, transfer, uuid_of};

/// A rebuild of all wallets beside postings leaves every wallet as a fresh fold,
/// whatever was kept before, and counts each wallet once.
#[tokio::test]
async fn all_are_rebuilt_beside_postings() {
    let fixture = without_projector().await;
    let (pool, books) = (fixture.database.pool.clone(), Bookkeeper::of(&fixture));
    let mut wallets = Vec::new();
    for _ in 0..60 {
        wallets.push(fixture.funded("EUR", 1_000).await);
    }
    for wallet in &wallets[..30] {
        project(&pool, wallet).await;
    }
    let superuser = fixture.database.superuser().await;
    edit(&superuser, "UPDATE wallet_days SET available_out = 77").await;
    superuser.close().await;
    let (_, drifts) = all_drift(&books, 7).await;
    assert_eq!(drifts.len(), 30);
    let dry = books.rebuild(None, true).await.expect("a dry run");
    assert_eq!(dry.status(), RebuildStatus::Pending);
    let dry = completed(&books, &dry).await;
    assert_eq!((dry.wallets_total, dry.wallets_checked), (61, 61));
    assert_eq!(
        (dry.wallets_differing, dry.differences, dry.wallets_rebuilt),
        (30, 30, 0)
    );
    assert_eq!(all_drift(&books, 100).await.1.len(), 30);
    let wet = books.rebuild(None, false).await.expect("a rebuild");
    let mut ledger = fixture.ledger();
    let mut round = 0;
    while get(&books, &wet).await.status() != RebuildStatus::Completed {
        let batch = (0..20).map(|index| {
            transfer(
                &wallets[(round * 7 + index) % 60],
                &wallets[(round + index * 3 + 1) % 60],
                1,
            )
        });
        ledger.post(batch.collect(), BatchMode::Independent).await;
        round += 1;
    }
    let wet = completed(&books, &wet).await;
    assert_eq!((wet.wallets_checked, wet.wallets_rebuilt), (61, 30));
    assert!(wet.started_at.is_some() && wet.finished_at.is_some());
    let (checked, drifts) = all_drift(&books, 10).await;
    assert_eq!((checked, drifts.len()), (61, 0), "{drifts:?}");
    for wallet in &wallets {
        project(&pool, wallet).await;
    }
    let system = all_wallets(&pool).await;
    for id in system.iter().filter(|id| {
        !wallets
            .iter()
            .any(|wallet| uuid_of(&wallet.wallet_id) == **id)
    }) {
        let wallet = Wallet {
            wallet_id: format!("wal_{id}"),
            ..Wallet::default()
        };
        project(&pool, &wallet).await;
    }
    assert_projected(&pool).await;
    fixture.verify().await;
}

/// A rebuild that is told to stop goes on after the last wallet that was done,
/// and one whose lease was taken over counts nothing more.
#[tokio::test]
async fn a_rebuild_survives_its_worker() {
    let fixture = without_projector().await;
    let (pool, books) = (&fixture.database.pool, Bookkeeper::of(&fixture));
    for _ in 0..5 {
        fixture.funded("EUR", 10).await;
    }
    // As if another process had come half way and died: its lease has lapsed.
    let half = all_wallets(pool).await[2];
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO projection_rebuilds (id, tenant_id, dry_run, status, requested_by,
             cursor_wallet_id, wallets_total, wallets_checked, created_at, started_at, lease_epoch,
             leased_until)
         VALUES ($1, 'default', true, 'running', 'somebody', $2, 6, 3, now(), now(), 4,
             now() - interval '1 second')",
    )
    .bind(id)
    .bind(half)
    .execute(pool)
    .await
    .expect("a rebuild");
    let rebuild = ProjectionRebuild {
        rebuild_id: format!("prb_{id}"),
        ..ProjectionRebuild::default()
    };
    let done = completed(&books, &rebuild).await;
    assert_eq!((done.wallets_checked, done.wallets_total), (6, 6));
    let epoch: i64 =
        sqlx::query_scalar("SELECT lease_epoch FROM projection_rebuilds WHERE id = $1")
            .bind(id)
            .fetch_one(pool)
            .await
            .expect("an epoch");
    assert_eq!(epoch, 5);
}

/// Whoever works on a rebuild and is told to stop gives up the lease, and nobody
/// else works on it before.
#[tokio::test]
async fn a_lease_is_given_up_at_shutdown() {
    let database = TestDatabase::create(&bursar_wallet::migrations()).await;
    let pool = &database.pool;
    sqlx::query(
        "INSERT INTO projection_rebuilds (id, tenant_id, dry_run, status, requested_by, created_at)
         VALUES ($1, 'default', true, 'pending', 'somebody', now())",
    )
    .bind(Uuid::now_v7())
    .execute(pool)
    .await
    .expect("a rebuild");
    sqlx::query(
        "INSERT INTO wallets (id, tenant_id, owner_user_id, currency, status, available, held,
             bonus, min_available, version, event_version, created_at)
         SELECT gen_random_uuid(), 'default', gen_random_uuid(), 'EUR', 'active', 0, 0, 0, 0, 0, 0,
             now() - interval '1 hour'
         FROM generate_series(1, 3)",
    )
    .execute(pool)
    .await
    .expect("wallets");
    let stopped = CancellationToken::new();
    stopped.cancel();
    assert!(rebuild::work(pool, &stopped).await.expect("work"));
    let state: (String, i64, bool) = sqlx::query_as(
        "SELECT status::text, wallets_checked, leased_until <= now() FROM projection_rebuilds",
    )
    .fetch_one(pool)
    .await
    .expect("a rebuild");
    assert_eq!((state.0.as_str(), state.2), ("running", true));
    let held = "UPDATE projection_rebuilds SET leased_until = now() + interval '1 hour'";
    sqlx::query(held).execute(pool).await.expect("another's");
    let go = CancellationToken::new();
    assert!(!rebuild::work(pool, &go).await.expect("nothing to do"));
    let lapsed = "UPDATE projection_rebuilds SET leased_until = now() - interval '1 s'";
    sqlx::query(lapsed).execute(pool).await.expect("lapsed");
    assert!(rebuild::work(pool, &go).await.expect("work"));
    let state: (String, i64) =
        sqlx::query_as("SELECT status::text, wallets_checked FROM projection_rebuilds")
            .fetch_one(pool)
            .await
            .expect("a rebuild");
    assert_eq!(state, ("completed".to_owned(), 3));
}

/// One rebuild of all wallets at a time; keys replay; lists page; only those who
/// may, may.
#[tokio::test]
async fn rebuilds_are_asked_for_once() {
    let fixture = without_projector().await;
    let books = Bookkeeper::of(&fixture);
    let wallet = fixture.funded("EUR", 10).await;
    let mut client = books.projections.clone();
    let blocker = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO projection_rebuilds (id, tenant_id, dry_run, status, requested_by, created_at,
             started_at, leased_until)
         VALUES ($1, 'default', true, 'running', 'somebody', now(), now(),
             now() + interval '1 hour')",
    )
    .bind(blocker)
    .execute(&fixture.database.pool)
    .await
    .expect("a rebuild");
    let refused = books.rebuild(None, false).await.expect_err("one at a time");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "REBUILD_IN_PROGRESS");
    let details = refused.get_error_details();
    let metadata = &details.error_info().expect("a reason").metadata;
    assert_eq!(metadata["rebuild_id"], format!("prb_{blocker}"));
    let keyed = || -> Request<RebuildProjectionsRequest> {
        let mut request = books.call(RebuildProjectionsRequest {
            wallet_id: wallet.wallet_id.clone(),
            dry_run: false,
        });
        let key = "a-key".parse().expect("visible ASCII");
        request.metadata_mut().insert("idempotency-key", key);
        request
    };
    let first = client
        .rebuild_projections(keyed())
        .await
        .expect("a rebuild");
    let again = client.rebuild_projections(keyed()).await.expect("the same");
    assert!(again.metadata().get("idempotency-replayed").is_some());
    assert_eq!(first.get_ref(), again.get_ref());
    books.rebuild(Some(&wallet), true).await.expect("another");
    let mut listed = Vec::new();
    let mut token = String::new();
    loop {
        let request = books.call(ListRebuildsRequest {
            page_size: 1,
            page_token: token,
        });
        let page = client
            .list_rebuilds(request)
            .await
            .expect("a page")
            .into_inner();
        listed.extend(page.rebuilds);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let runs: Vec<bool> = listed.iter().map(|rebuild| rebuild.dry_run).collect();
    assert_eq!(runs, [true, false, true]);
    assert_eq!(listed[1], first.into_inner().rebuild.expect("a rebuild"));
    let missing = books.call(GetRebuildRequest {
        rebuild_id: format!("prb_{}", Uuid::now_v7()),
    });
    let missing = client.get_rebuild(missing).await.expect_err("none such");
    assert_eq!(reason(&missing), "REBUILD_NOT_FOUND");
    let nobody = Wallet {
        wallet_id: format!("wal_{}", Uuid::now_v7()),
        ..Wallet::default()
    };
    let missing = books
        .rebuild(Some(&nobody), false)
        .await
        .expect_err("none such");
    assert_eq!(reason(&missing), "WALLET_NOT_FOUND");
    let user = fixture.tokens.user(UserId::generate());
    let request = with_token(RebuildProjectionsRequest::default(), &user);
    let denied = client
        .rebuild_projections(request)
        .await
        .expect_err("not theirs");
    assert_eq!(denied.code(), Code::PermissionDenied);
    let denied = client
        .detect_drift(with_token(DetectDriftRequest::default(), &user))
        .await;
    assert_eq!(
        denied.expect_err("not theirs").code(),
        Code::PermissionDenied
    );
    applied(&fixture.ledger().post_one(deposit(&wallet, 1)).await);
}
