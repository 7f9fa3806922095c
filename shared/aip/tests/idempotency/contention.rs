//! Duplicates that run at the same time.

use std::sync::Arc;

use bursar_aip::idempotency::{Answer, Claim, TTL, claim, complete, fingerprint};
use futures::future::join_all;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::spawn;
use tokio::time::timeout;

use crate::database::{Database, PATIENCE};
use crate::{Asker, NOW, delete_at, money};

/// A whole request: claim, effect, answer, one commit. The answer is the
/// number of the caller, so that a replay shows whose it was.
async fn request(pool: PgPool, asker: Arc<Asker>, caller: i64, now: OffsetDateTime) -> Claim {
    let mut transaction = pool.begin().await.expect("the database answers");
    let body = fingerprint(&money(1));
    let claim = claim(&mut transaction, &asker.scope(), body, None, now)
        .await
        .expect("the claim is decided");
    if claim == Claim::Claimed {
        let answer = Answer::response(&money(caller));
        complete(&mut transaction, &asker.scope(), &answer)
            .await
            .expect("claimed");
    }
    transaction.commit().await.expect("the request commits");
    claim
}

/// Sends the same request fifty times at once; exactly one may run, and all
/// others must get its answer.
async fn fifty_at_once(database: &Database, asker: &Arc<Asker>, now: OffsetDateTime) {
    let requests = (1..=50).map(|caller| {
        spawn(request(
            database.pool.clone(),
            Arc::clone(asker),
            caller,
            now,
        ))
    });
    let claims: Vec<Claim> = join_all(requests)
        .await
        .into_iter()
        .map(|claim| claim.expect("no request panics"))
        .collect();
    let first: Vec<i64> = (1..)
        .zip(&claims)
        .filter(|(_, claim)| **claim == Claim::Claimed)
        .map(|(caller, _)| caller)
        .collect();
    assert_eq!(first.len(), 1, "one effect");
    let replay = Claim::Replay(Answer::response(&money(first[0])));
    assert_eq!(claims.iter().filter(|claim| **claim == replay).count(), 49);
}

/// Of fifty duplicates one runs and forty-nine get its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_fifty_duplicates_runs() {
    let database = Database::create().await;
    fifty_at_once(&database, &Arc::new(Asker::new("k")), NOW).await;
    database.remove().await;
}

/// Of fifty requests that find an expired key, one takes it over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_fifty_takes_an_expired_key_over() {
    let database = Database::create().await;
    let asker = Arc::new(Asker::new("k"));
    fifty_at_once(&database, &asker, NOW).await;
    fifty_at_once(&database, &asker, NOW + TTL).await;
    database.remove().await;
}

/// A duplicate waits for the open transaction of the first request, and gets
/// its answer when that commits.
#[tokio::test]
async fn a_duplicate_waits_for_the_answer() {
    let database = Database::create().await;
    let asker = Arc::new(Asker::new("k"));
    let body = fingerprint(&money(1));
    let mut first = database.pool.begin().await.expect("the database answers");
    let claimed = claim(&mut first, &asker.scope(), body, None, NOW).await;
    assert_eq!(claimed.expect("decided"), Claim::Claimed);

    let duplicate = spawn(request(database.pool.clone(), Arc::clone(&asker), 2, NOW));
    database.until_someone_waits().await;
    let answer = Answer::response(&money(1));
    complete(&mut first, &asker.scope(), &answer)
        .await
        .expect("claimed");
    first.commit().await.expect("the request commits");
    assert_eq!(duplicate.await.expect("no panic"), Claim::Replay(answer));
    database.remove().await;
}

/// When the first request rolls back, the waiting duplicate runs instead.
#[tokio::test]
async fn a_rolled_back_claim_is_free_again() {
    let database = Database::create().await;
    let asker = Arc::new(Asker::new("k"));
    let body = fingerprint(&money(1));
    let mut first = database.pool.begin().await.expect("the database answers");
    let claimed = claim(&mut first, &asker.scope(), body, None, NOW).await;
    assert_eq!(claimed.expect("decided"), Claim::Claimed);

    let duplicate = spawn(request(database.pool.clone(), Arc::clone(&asker), 2, NOW));
    database.until_someone_waits().await;
    first.rollback().await.expect("the request rolls back");
    assert_eq!(duplicate.await.expect("no panic"), Claim::Claimed);
    let replay = Claim::Replay(Answer::response(&money(2)));
    assert_eq!(asker.claim(&database.pool, 1).await, replay);
    database.remove().await;
}

/// When the claim that a duplicate met is released in the meantime, the
/// duplicate runs instead.
#[tokio::test]
async fn a_claim_released_under_way_is_free_again() {
    let database = Database::create().await;
    let asker = Arc::new(Asker::new("k"));
    // A take-over waits on the expired row, which its owner then deletes.
    assert_eq!(asker.claim(&database.pool, 1).await, Claim::Claimed);
    let mut owner = database.pool.begin().await.expect("the database answers");
    bursar_aip::idempotency::release(&mut owner, &asker.scope())
        .await
        .expect("claimed");

    let duplicate = spawn(request(
        database.pool.clone(),
        Arc::clone(&asker),
        2,
        NOW + TTL,
    ));
    database.until_someone_waits().await;
    owner.commit().await.expect("the release commits");
    assert_eq!(duplicate.await.expect("no panic"), Claim::Claimed);
    database.remove().await;
}

/// Under REPEATABLE READ a duplicate that cannot see the first claim gets
/// 40001, which callers retry, and never a second claim.
#[tokio::test]
async fn a_stricter_isolation_asks_for_a_retry() {
    let database = Database::create().await;
    let asker = Arc::new(Asker::new("k"));
    let mut strict = database.pool.begin().await.expect("the database answers");
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .execute(&mut *strict)
        .await
        .expect("the transaction is young");
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM idempotency_keys")
        .fetch_one(&mut *strict)
        .await;
    assert_eq!(count.expect("this takes the snapshot"), 0);

    assert_eq!(
        request(database.pool.clone(), Arc::clone(&asker), 1, NOW).await,
        Claim::Claimed
    );
    let refused = claim(
        &mut strict,
        &asker.scope(),
        fingerprint(&money(1)),
        None,
        NOW,
    )
    .await
    .expect_err("the snapshot hides the first claim");
    let code = refused.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("40001"));
    drop(strict);
    database.remove().await;
}

/// The clean-up passes by a key that a request holds.
#[tokio::test]
async fn the_clean_up_does_not_wait() {
    let database = Database::create().await;
    let (held, other) = (Asker::new("held"), Asker::new("other"));
    assert_eq!(held.claim(&database.pool, 1).await, Claim::Claimed);
    assert_eq!(other.claim(&database.pool, 1).await, Claim::Claimed);
    let mut holder = database.pool.begin().await.expect("the database answers");
    let answer = Answer::response(&money(1));
    complete(&mut holder, &held.scope(), &answer)
        .await
        .expect("claimed");

    let deleted = timeout(PATIENCE, delete_at(&database.pool, NOW + TTL, 10)).await;
    assert_eq!(deleted, Ok(1), "the free key went at once");
    holder.commit().await.expect("the request commits");
    assert_eq!(held.claim(&database.pool, 1).await, Claim::Replay(answer));
    database.remove().await;
}
