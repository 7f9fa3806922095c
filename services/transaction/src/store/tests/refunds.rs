//! The reserve of refunds, on the real database.

use bursar_money::{Currency, PositiveMoney};
use sqlx::PgConnection;
use tokio::task::JoinSet;

use super::*;
use crate::domain::{
    Asker, Failure, Price, RefundError, Resolution, Resolved, State, plan_refund, resolve,
};

fn euros(minor: i64) -> PositiveMoney {
    let euro = Currency::parse("EUR").expect("a currency");
    PositiveMoney::new(euro, minor).expect("positive")
}

/// A transaction of 100 that is done.
async fn completed(database: &TestDatabase, movement: Movement) -> Stored {
    let has_provider = movement.provider().is_some();
    let (mut stored, _) = begin(database, movement, LEASE).await;
    let mut inputs = vec![Input::Resume(None)];
    if has_provider {
        inputs.push(answered(succeeded(100)));
    }
    inputs.push(posted());
    for input in inputs {
        let step = step(&stored.transaction, input, &TERMS, now()).expect("it fits");
        write(database, &mut stored, step).await;
    }
    assert_eq!(stored.transaction.state, State::Completed);
    stored
}

/// Records a refund as a Create call does, up to the commit.
async fn draw(
    conn: &mut PgConnection,
    original: TransactionId,
    minor: i64,
) -> Result<Stored, RefundError> {
    transactions::lock(conn, original).await.expect("runs");
    let found = transactions::find(conn, original).await.expect("runs");
    let found = found.expect("the original is there");
    let amount = Some(euros(minor));
    let (movement, amount) = plan_refund(
        &found.transaction,
        found.refunded_minor,
        amount,
        Asker::Operator,
    )?;
    let reserved = transactions::reserve(conn, original, amount.minor()).await;
    reserved.expect("the constraint agrees with the plan");
    let initiated = Initiated {
        movement,
        amount,
        price: Price::default(),
        initiator: UserId::generate(),
    };
    let id = TransactionId::generate();
    let stored = Stored {
        transaction: Transaction::initiate(id, initiated.clone(), now()),
        tenant: TenantId::default(),
        description: String::new(),
        refunded_minor: 0,
    };
    let batch = EventBatch::new();
    let inserted = transactions::insert(conn, &stored, &batch).await;
    inserted.expect("new row");
    let log = [Event::Initiated(initiated)];
    let appended = batch.append(conn, &stored, &log, "usr_1").await;
    appended.expect("a new log");
    Ok(stored)
}

async fn refund(database: &TestDatabase, original: TransactionId, minor: i64) -> Stored {
    let mut conn = database.pool.begin().await.expect("a connection");
    let drawn = draw(&mut conn, original, minor).await;
    conn.commit().await.expect("it commits");
    drawn.expect("so much is left")
}

async fn reserved(database: &TestDatabase, original: TransactionId) -> i64 {
    let mut conn = database.pool.acquire().await.expect("a connection");
    let found = transactions::find(&mut conn, original).await.expect("runs");
    found.expect("the original is there").refunded_minor
}

/// Refunds that are asked for at the same time never sum up to more than the
/// original: of twenty over 15 of 100, six fit.
#[tokio::test]
async fn concurrent_refunds_share_one_original() {
    let database = database().await;
    let original = completed(&database, transfer()).await.transaction.id;
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let pool = database.pool.clone();
        asking.spawn(async move {
            let mut conn = pool.begin().await.expect("a connection");
            let drawn = draw(&mut conn, original, 15).await;
            conn.commit().await.expect("it commits");
            drawn.map(|_| ())
        });
    }
    let outcomes = asking.join_all().await;
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(done, 6);
    assert_eq!(reserved(&database, original).await, 90);
    let refused = outcomes.into_iter().filter_map(Result::err);
    for error in refused {
        assert_eq!(error, RefundError::Exceeds { left_minor: 10 });
    }
}

/// What a cut off transaction has reserved is not reserved.
#[tokio::test]
async fn a_refund_that_was_not_committed_reserves_nothing() {
    let database = database().await;
    let original = completed(&database, transfer()).await.transaction.id;
    let mut conn = database.pool.begin().await.expect("a connection");
    draw(&mut conn, original, 100).await.expect("all is left");
    conn.rollback().await.expect("it rolls back");
    assert_eq!(reserved(&database, original).await, 0);
    refund(&database, original, 100).await;
}

/// A refund that fails gives its reserve back with its last event, once; one that
/// completes keeps it.
#[tokio::test]
async fn only_failed_refunds_give_their_reserve_back() {
    let database = database().await;
    let original = completed(&database, transfer()).await.transaction.id;
    let mut failing = refund(&database, original, 60).await;
    let mut completing = refund(&database, original, 40).await;
    assert_eq!(reserved(&database, original).await, 100);

    let failed = step(&failing.transaction, refused(), &TERMS, now()).expect("it fits");
    write(&database, &mut failing, failed.clone()).await;
    assert_eq!(reserved(&database, original).await, 40);
    // Whoever comes later with the same outcome changes nothing.
    let mut conn = database.pool.acquire().await.expect("a connection");
    let again = transactions::update(&mut conn, &failed.transaction, 1, &EventBatch::new()).await;
    assert!(!again.expect("the statement runs"));
    drop(conn);
    assert_eq!(reserved(&database, original).await, 40);

    let done = step(&completing.transaction, posted(), &TERMS, now()).expect("it fits");
    write(&database, &mut completing, done).await;
    assert_eq!(reserved(&database, original).await, 40);
    refund(&database, original, 60).await;
}

/// The database itself refuses to reserve more than there is, or less than nothing.
#[tokio::test]
async fn the_reserve_has_its_bounds() {
    let database = database().await;
    let original = completed(&database, transfer()).await.transaction.id;
    let under_way = begin(&database, transfer(), LEASE).await.0.transaction.id;
    for (id, change) in [(original, 101), (original, -1), (under_way, 1)] {
        let mut conn = database.pool.acquire().await.expect("a connection");
        let error = transactions::reserve(&mut conn, id, change)
            .await
            .expect_err("out of bounds");
        let constraint = error
            .as_database_error()
            .and_then(|error| error.constraint());
        assert_eq!(constraint, Some("transactions_refunded"));
    }
}

/// Every course of a refund is stored such that the log folds to the row: with a
/// shortfall, without, declined, and resolved by an operator.
#[tokio::test]
async fn the_log_of_a_refund_folds_to_the_row() {
    let database = database().await;
    let measured = |available| Input::Measured(Some(available));
    let courses = [
        (transfer(), vec![posted()]),
        (transfer(), vec![refused()]),
        (
            deposit(),
            vec![posted(), answered(succeeded(100)), posted()],
        ),
        (
            deposit(),
            vec![
                refused(),
                measured(40),
                posted(),
                answered(succeeded(100)),
                posted(),
            ],
        ),
        (
            deposit(),
            vec![refused(), measured(0), answered(succeeded(100)), posted()],
        ),
        (
            deposit(),
            vec![refused(), measured(0), answered(declined())],
        ),
        (
            deposit(),
            vec![
                refused(),
                measured(40),
                posted(),
                lost(),
                Input::Looked(Looked::NotFound),
                posted(),
            ],
        ),
    ];
    for (movement, inputs) in courses {
        let original = completed(&database, movement).await.transaction.id;
        let mut stored = refund(&database, original, 100).await;
        for input in [Input::Resume(None)].into_iter().chain(inputs) {
            let step = step(&stored.transaction, input, &TERMS, now()).expect("it fits");
            if step.events.is_empty() {
                continue;
            }
            write(&database, &mut stored, step).await;
        }
        let state = stored.transaction.state;
        assert!(state.is_terminal(), "{state:?}");
        let left = if state == State::Failed { 0 } else { 100 };
        assert_eq!(reserved(&database, original).await, left);
    }
}

/// A refund that an operator fails gives its reserve back like any other.
#[tokio::test]
async fn a_refund_that_an_operator_fails_gives_its_reserve_back() {
    let database = database().await;
    let original = completed(&database, deposit()).await.transaction.id;
    let mut stored = refund(&database, original, 100).await;
    for input in [refused(), Input::Measured(Some(0)), lost()] {
        let step = step(&stored.transaction, input, &TERMS, now()).expect("it fits");
        if !step.events.is_empty() {
            write(&database, &mut stored, step).await;
        }
    }
    assert_eq!(stored.transaction.state, State::Unknown);
    let resolved = Resolved {
        resolution: Resolution::Fail,
        reason: "the provider has no such refund".to_owned(),
        operator: UserId::generate(),
    };
    let step = resolve(&stored.transaction, resolved, &TERMS, now()).expect("allowed");
    write(&database, &mut stored, step).await;
    assert_eq!(stored.transaction.failure, Some(Failure::resolved()));
    assert_eq!(reserved(&database, original).await, 0);
}
