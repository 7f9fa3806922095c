//! Callers that leave, connections that break, a database that is away.

use std::time::Duration;

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{BatchMode, Posting, Wallet};
use bursar_status::StatusExt;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};
use tonic::Code;

use crate::support::{
    Fixture, applied, deposit, eventually, reason, times_posted, transfer, uuid_of, waiting_writers,
};

/// Locks a wallet's row from outside, so that writers that need it wait.
async fn lock(pool: &PgPool, wallet: &Wallet) -> Transaction<'static, Postgres> {
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM wallets WHERE id = $1 FOR UPDATE")
        .bind(uuid_of(&wallet.wallet_id))
        .execute(&mut *transaction)
        .await
        .expect("the row is locked");
    transaction
}

/// Closes the service's connections to the database.
async fn cut_connections(superuser: &PgPool) {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'bursar-wallet'",
    )
    .execute(superuser)
    .await
    .expect("a superuser may");
}

/// How many connections to this database there may be.
async fn limit_connections(superuser: &PgPool, limit: i32) {
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(superuser)
        .await
        .expect("a name");
    let statement = format!("ALTER DATABASE {name} CONNECTION LIMIT {limit}");
    sqlx::query(AssertSqlSafe(statement))
        .execute(superuser)
        .await
        .expect("a superuser may");
}

/// A caller that leaves in the middle takes nothing back: its posting is
/// written, once, and asking again tells so.
#[tokio::test]
async fn a_caller_that_leaves_is_posted_once() {
    let fixture = Fixture::start().await;
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let (owner, pool) = (&fixture.database.owner, &fixture.database.pool);
    let held = lock(owner, &wallet).await;
    let paid_in = deposit(&wallet, 5);
    let (mut ledger, posting) = (fixture.ledger(), paid_in.clone());
    let call = tokio::spawn(async move { ledger.post_one(posting).await });
    eventually("the writer waits for the row", async || {
        waiting_writers(pool).await == 1
    })
    .await;
    call.abort();
    call.await.expect_err("it was dropped");
    held.rollback().await.expect("released");
    eventually("it is posted", async || {
        times_posted(pool, &paid_in).await == 1
    })
    .await;
    assert!(fixture.ledger().post_one(paid_in).await.replayed);
    assert_eq!(fixture.balance(&wallet).await.available_minor, 5);
    fixture.verify().await;
}

/// Callers that leave at any moment leave neither half a posting nor a broken
/// connection; posted again, each posting is there once.
#[tokio::test]
async fn many_callers_that_leave_harm_nothing() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 10_000).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let postings: Vec<Posting> = (0..400).map(|_| transfer(&alice, &bob, 1)).collect();
    for (index, posting) in postings.iter().cloned().enumerate() {
        let mut ledger = fixture.ledger();
        let call = tokio::spawn(async move { ledger.post_one(posting).await });
        // Every few calls this one lets the others come some way before it drops its own.
        for _ in 0..index % 7 {
            tokio::task::yield_now().await;
        }
        call.abort();
    }
    for posting in &postings {
        applied(&fixture.ledger().post_one(posting.clone()).await);
    }
    assert_eq!(fixture.balance(&bob).await.available_minor, 400);
    // As the role whose sessions these are: others do not see their states.
    eventually("no session is in a transaction", async || {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
                 AND state LIKE 'idle in transaction%'",
        )
        .fetch_one(&fixture.database.pool)
        .await
        .expect("sessions");
        open == 0
    })
    .await;
    fixture.verify().await;
}

/// A call whose deadline passes while it waits for a writer is never applied.
#[tokio::test]
async fn a_call_that_comes_too_late_is_dropped() {
    let fixture = Fixture::start().await;
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let other = fixture.open(UserId::generate(), "EUR").await;
    let pool = &fixture.database.pool;
    let held = lock(&fixture.database.owner, &wallet).await;
    let mut busy = Vec::new();
    for writers in 1..=2 {
        let (mut ledger, posting) = (fixture.ledger(), deposit(&wallet, 1));
        busy.push(tokio::spawn(async move { ledger.post_one(posting).await }));
        eventually("a writer waits", async || {
            waiting_writers(pool).await == writers
        })
        .await;
    }
    let late = deposit(&other, 1);
    let mut ledger = fixture.ledger();
    let request = bursar_contracts::wallet::v1::PostBatchRequest {
        postings: vec![late.clone()],
        mode: BatchMode::Independent.into(),
        origins: Vec::new(),
    };
    let timeout = Duration::from_millis(100);
    let mut request = bursar_testkit::with_token(request, &ledger.token);
    request.set_timeout(timeout);
    let refused = ledger
        .client
        .post_batch(request)
        .await
        .expect_err("too late");
    assert!(
        matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{refused:?}"
    );
    // The service's clock for the call starts when it comes to it, which may be after
    // the caller's: this call comes behind it, and once its time is over too, so is that
    // of the late one.
    let read = bursar_contracts::wallet::v1::BatchGetWalletsRequest {
        wallet_ids: vec![other.wallet_id.clone()],
    };
    let read = bursar_testkit::with_token(read, &ledger.token);
    let read = ledger.client.batch_get_wallets(read).await;
    read.expect("the service answers");
    tokio::time::sleep(timeout).await;
    held.rollback().await.expect("released");
    for call in busy {
        applied(&call.await.expect("no panic"));
    }
    // The queue is served in order: after this one the late one was met.
    applied(&fixture.ledger().post_one(deposit(&other, 7)).await);
    assert_eq!(times_posted(pool, &late).await, 0);
    assert_eq!(fixture.balance(&other).await.available_minor, 7);
}

/// Connections cut at any moment, in the middle of statements and commits:
/// callers are answered or told to try again, and each posting is there once.
#[tokio::test]
async fn cut_connections_lose_and_double_nothing() {
    let fixture = Fixture::start().await;
    let superuser = fixture.database.superuser().await;
    let alice = fixture.funded("EUR", 10_000).await;
    let bob = fixture.funded("EUR", 10_000).await;
    let pairs = (0..250).flat_map(|_| [transfer(&alice, &bob, 2), transfer(&bob, &alice, 1)]);
    let postings: Vec<Posting> = pairs.collect();
    let calls = postings.iter().cloned().map(|posting| {
        let mut ledger = fixture.ledger();
        tokio::spawn(async move { ledger.try_post(vec![posting], BatchMode::Independent).await })
    });
    let calls: Vec<_> = calls.collect();
    for _ in 0..12 {
        cut_connections(&superuser).await;
    }
    let mut acknowledged = Vec::new();
    for (call, posting) in calls.into_iter().zip(&postings) {
        match call.await.expect("no panic") {
            Ok(results) => {
                applied(&results[0]);
                acknowledged.push(posting);
            }
            Err(status) => assert_eq!(reason(&status), "UNAVAILABLE"),
        }
    }
    for posting in acknowledged {
        assert_eq!(times_posted(&fixture.database.pool, posting).await, 1);
    }
    for posting in &postings {
        applied(&fixture.ledger().post_one(posting.clone()).await);
    }
    assert_eq!(fixture.balance(&alice).await.available_minor, 9_750);
    assert_eq!(fixture.balance(&bob).await.available_minor, 10_250);
    superuser.close().await;
    fixture.verify().await;
}

/// While the database takes no connections callers are told when to try again;
/// once it does, the same posting goes through.
#[tokio::test]
async fn a_database_that_is_away_is_unavailable() {
    let fixture = Fixture::start().await;
    let superuser = fixture.database.superuser().await;
    let wallet = fixture.funded("EUR", 10).await;
    let paid_in = deposit(&wallet, 5);
    limit_connections(&superuser, 0).await;
    cut_connections(&superuser).await;
    let refused = fixture
        .ledger()
        .try_post(vec![paid_in.clone()], BatchMode::Independent)
        .await;
    let refused = refused.expect_err("no database");
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(reason(&refused), "UNAVAILABLE");
    assert!(refused.get_error_details().retry_info().is_some());
    limit_connections(&superuser, -1).await;
    let result = fixture.ledger().post_one(paid_in).await;
    applied(&result);
    assert!(!result.replayed);
    assert_eq!(fixture.balance(&wallet).await.available_minor, 15);
    superuser.close().await;
    fixture.verify().await;
}

/// Calls in flight when the service is told to end are still answered.
#[tokio::test]
async fn an_ending_service_finishes_its_calls() {
    let fixture = Fixture::start().await;
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let held = lock(&fixture.database.owner, &wallet).await;
    let (mut ledger, posting) = (fixture.ledger(), deposit(&wallet, 5));
    let call = tokio::spawn(async move { ledger.post_one(posting).await });
    let pool = &fixture.database.pool;
    eventually("the writer waits for the row", async || {
        waiting_writers(pool).await == 1
    })
    .await;
    let stopping = tokio::spawn(fixture.service.stop());
    tokio::task::yield_now().await;
    held.rollback().await.expect("released");
    applied(&call.await.expect("no panic"));
    stopping.await.expect("it ends");
}
