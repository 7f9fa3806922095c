//! Reserving and giving back, on the real database.

use std::time::Duration;

use bursar_aip::id::{LimitRuleId, TenantId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use bursar_testkit::TestDatabase;
use time::OffsetDateTime;
use time::macros::{date, datetime};
use tokio::task::{JoinHandle, JoinSet};

use super::rules::{self, Record};
use super::*;
use crate::domain::limit::{LimitKind, Limited, Scope};
use crate::domain::{Event, Failure, Initiated, Movement, Price, Transaction};
use crate::store::events::EventBatch;
use crate::store::transactions::{self, Stored};

const MARCH: OffsetDateTime = datetime!(2026-03-31 23:59:59.999999 UTC);
const APRIL: OffsetDateTime = datetime!(2026-04-01 0:00 UTC);

async fn database() -> TestDatabase {
    TestDatabase::create(&crate::definition().migrations).await
}

fn euro() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

/// Puts a rule for all users.
async fn put(database: &TestDatabase, daily_minor: Option<i64>, monthly_minor: Option<i64>) {
    let record = Record {
        rule: LimitRule {
            id: LimitRuleId::generate(),
            tenant: TenantId::default(),
            scope: Scope::Everybody,
            movement: Some(Limited::Transfer),
            currency: euro(),
            single_minor: Some(i64::MAX),
            daily_minor,
            monthly_minor,
            velocity: None,
        },
        note: "a test".to_owned(),
        created_by: "usr_1".to_owned(),
        created_at: MARCH,
        archived: None,
    };
    let mut conn = database.pool.begin().await.expect("a connection");
    rules::lock(&mut conn).await.expect("nobody reads for long");
    rules::put(&mut conn, &record).await.expect("a new rule");
    conn.commit().await.expect("it commits");
}

fn demand(user: UserId, minor: i64, at: OffsetDateTime) -> Demand {
    Demand {
        tenant: TenantId::default(),
        user,
        tier: 0,
        wallet: WalletId::generate(),
        movement: Limited::Transfer,
        amount: PositiveMoney::new(euro(), minor).expect("positive"),
        at,
    }
}

/// The transaction that a demand is for, with an id of its time.
fn transaction(demand: &Demand) -> Stored {
    let milliseconds = demand.at.unix_timestamp_nanos() / 1_000_000;
    let milliseconds = u128::try_from(milliseconds).expect("after 1970");
    let chance = Uuid::now_v7().as_u128() & ((1 << 60) - 1);
    let id = TransactionId::from_uuid(Uuid::from_u128((milliseconds << 80) | chance));
    let initiated = Initiated {
        movement: Movement::Transfer {
            from: demand.wallet,
            to: WalletId::generate(),
        },
        amount: demand.amount,
        price: Price::default(),
        initiator: demand.user,
    };
    Stored {
        transaction: Transaction::initiate(id, initiated, demand.at),
        tenant: demand.tenant.clone(),
        description: String::new(),
        refunded_minor: 0,
    }
}

/// Makes a recorded transaction FAILED.
async fn fail(conn: &mut PgConnection, stored: &mut Stored) {
    let from = stored.transaction.version;
    let event = Event::Failed(Failure::declined());
    let applied = stored
        .transaction
        .apply(&event, stored.transaction.created_at);
    applied.expect("it is pending");
    let updated = transactions::update(conn, &stored.transaction, from, &EventBatch::new()).await;
    assert!(updated.expect("it runs"));
}

/// Waits until somebody waits for a lock, which a task must do before it ends.
async fn until_it_waits<T>(database: &TestDatabase, task: &JoinHandle<T>) {
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*)
             FROM pg_locks
             JOIN pg_stat_activity USING (pid)
             WHERE NOT granted AND datname = current_database()",
        )
        .fetch_one(&database.owner)
        .await
        .expect("it runs");
        if waiting > 0 {
            return;
        }
        assert!(!task.is_finished(), "it must wait for what is failing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the database has for a user: by period and first day, the sum and the count.
async fn rows(database: &TestDatabase, user: UserId) -> Vec<(String, time::Date, i64, i64)> {
    sqlx::query_as(
        "SELECT period, starts_on, used_minor::bigint, movements
         FROM limit_usage
         WHERE user_id = $1
         ORDER BY period, starts_on",
    )
    .bind(user.uuid())
    .fetch_all(&database.pool)
    .await
    .expect("it runs")
}

/// The last moment of a month and the first of the next are counted apart, users are
/// counted apart, and what fails gives back to the periods it was counted in.
#[tokio::test]
async fn periods_and_users_are_counted_apart() {
    let database = database().await;
    put(&database, Some(100), Some(150)).await;
    let (alice, bob) = (UserId::generate(), UserId::generate());
    let demands = [
        demand(alice, 100, MARCH),
        demand(bob, 60, MARCH),
        demand(alice, 1, MARCH),
        demand(alice, 100, APRIL),
        demand(bob, 40, MARCH),
    ];
    let mut conn = database.pool.begin().await.expect("a connection");
    let results = reserve(&mut conn, &demands).await.expect("it runs");
    let kinds: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().err().map(|exceeded| exceeded.kind))
        .collect();
    assert_eq!(kinds, [None, None, Some(LimitKind::Daily), None, None]);
    let mut recorded: Vec<Stored> = [0, 1, 3, 4]
        .into_iter()
        .map(|index: usize| transaction(&demands[index]))
        .collect();
    for stored in &recorded {
        let inserted = transactions::insert(&mut conn, stored, &EventBatch::new()).await;
        inserted.expect("a new row");
    }
    conn.commit().await.expect("it commits");
    let day = |on, minor| ("day".to_owned(), on, minor, 1);
    let month = |on, minor| ("month".to_owned(), on, minor, 1);
    let (last, first) = (date!(2026 - 03 - 31), date!(2026 - 04 - 01));
    assert_eq!(
        rows(&database, alice).await,
        [
            day(last, 100),
            day(first, 100),
            month(date!(2026 - 03 - 01), 100),
            month(first, 100),
        ]
    );

    // Two users' failures in one statement; bob's other movement stays.
    let mut conn = database.pool.begin().await.expect("a connection");
    let (of_alice, of_bob) = recorded.split_at_mut(1);
    for stored in [&mut of_alice[0], &mut of_bob[2]] {
        fail(&mut conn, stored).await;
    }
    let failed = [
        of_bob[2].transaction.id,
        of_alice[0].transaction.id,
        // Not failed, so nothing of it is given back.
        of_bob[0].transaction.id,
    ];
    release(&mut conn, &failed).await.expect("it runs");
    conn.commit().await.expect("it commits");
    assert_eq!(
        rows(&database, alice).await,
        [
            ("day".to_owned(), last, 0, 0),
            day(first, 100),
            ("month".to_owned(), date!(2026 - 03 - 01), 0, 0),
            month(first, 100),
        ]
    );
    assert_eq!(rows(&database, bob).await[0], day(last, 60));
    let mut conn = database.pool.acquire().await.expect("a connection");
    let deleted = delete_old(&mut conn, first, 10).await.expect("it runs");
    // Alice's and bob's March.
    assert_eq!(deleted, 4);
    assert_eq!(
        rows(&database, alice).await,
        [day(first, 100), month(first, 100)]
    );
}

/// A movement from before the first rule that fails while it is counted for the first
/// time is left out, for what it gives back finds no row: counting waits for it.
#[tokio::test]
async fn what_fails_while_it_is_counted_is_left_out() {
    let database = database().await;
    let alice = UserId::generate();
    let mut before = transaction(&demand(alice, 70, APRIL));
    let stays = transaction(&demand(alice, 20, APRIL));
    let mut conn = database.pool.acquire().await.expect("a connection");
    for stored in [&before, &stays] {
        let inserted = transactions::insert(&mut conn, stored, &EventBatch::new()).await;
        inserted.expect("a new row");
    }
    put(&database, Some(100), None).await;

    let mut failing = database.pool.begin().await.expect("a connection");
    fail(&mut failing, &mut before).await;
    let pool = database.pool.clone();
    let counting = tokio::spawn(async move {
        let mut conn = pool.begin().await.expect("a connection");
        let results = reserve(&mut conn, &[demand(alice, 80, APRIL)]).await;
        conn.commit().await.expect("it commits");
        results.expect("it runs")
    });
    until_it_waits(&database, &counting).await;
    let failed = release(&mut failing, &[before.transaction.id]).await;
    failed.expect("it runs");
    failing.commit().await.expect("it commits");
    assert_eq!(counting.await.expect("it ends"), [Ok(())]);
    let day = ("day".to_owned(), date!(2026 - 04 - 01), 100, 2);
    assert_eq!(rows(&database, alice).await[0], day);
}

/// Slices that name the same users in opposite orders, new users and known ones, all
/// end, and their sum is exact.
#[tokio::test]
async fn slices_never_wait_in_a_circle() {
    let database = database().await;
    put(&database, None, Some(1_000_000)).await;
    let users: Vec<UserId> = (0..6).map(|_| UserId::generate()).collect();
    let mut tasks = JoinSet::new();
    for turn in 0..40_usize {
        let mut demands: Vec<Demand> = users[turn % 3..]
            .iter()
            .map(|user| demand(*user, 1, APRIL))
            .collect();
        if turn % 2 == 1 {
            demands.reverse();
        }
        let pool = database.pool.clone();
        tasks.spawn(async move {
            let mut conn = pool.begin().await.expect("a connection");
            let results = reserve(&mut conn, &demands).await.expect("no circle");
            conn.commit().await.expect("it commits");
            results.into_iter().filter(Result::is_ok).count()
        });
    }
    let made: usize = tasks.join_all().await.into_iter().sum();
    let sum: i64 = sqlx::query_scalar(
        "SELECT sum(used_minor)::bigint FROM limit_usage WHERE period = 'month'",
    )
    .fetch_one(&database.pool)
    .await
    .expect("it runs");
    assert_eq!(usize::try_from(sum), Ok(made));
}

/// Sums beyond 64 bits are exact: they neither wrap nor refuse what no rule limits.
#[tokio::test]
async fn sums_are_wider_than_amounts() {
    let database = database().await;
    put(&database, None, None).await;
    let alice = UserId::generate();
    let huge = demand(alice, i64::MAX, APRIL);
    let mut conn = database.pool.begin().await.expect("a connection");
    let results = reserve(&mut conn, &[huge.clone(), huge.clone()]).await;
    assert_eq!(results.expect("it runs"), [Ok(()), Ok(())]);
    let results = reserve(&mut conn, &[huge]).await;
    assert_eq!(results.expect("it runs"), [Ok(())]);
    let sum: String = sqlx::query_scalar("SELECT max(used_minor)::text FROM limit_usage")
        .fetch_one(&mut *conn)
        .await
        .expect("it runs");
    assert_eq!(sum.parse(), Ok(3 * i128::from(i64::MAX)));
}
