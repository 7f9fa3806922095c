//! What waits for a person, on the real database.

use super::*;
use crate::domain::{Resolution, Resolved, State, resolve};
use crate::store::lists::{self, ReviewPage};

/// A withdrawal that was asked for, with its lease.
async fn asked(database: &TestDatabase) -> (Stored, Lease) {
    let (mut stored, lease) = begin(database, withdrawal(), LEASE).await;
    let step = step(&stored.transaction, posted(), &TERMS, now()).expect("it fits");
    write(database, &mut stored, step).await;
    (stored, lease)
}

async fn turn(database: &TestDatabase, stored: &mut Stored, input: Input) {
    let step = step(&stored.transaction, input, &TERMS, now()).expect("it fits");
    write(database, stored, step).await;
}

/// A transaction that needs a person, whose check is gone.
async fn in_review(database: &TestDatabase) -> (Stored, Lease) {
    let (mut stored, lease) = asked(database).await;
    turn(database, &mut stored, answered(succeeded(99))).await;
    assert_eq!(stored.transaction.state, State::ManualReview);
    let mut conn = database.pool.acquire().await.expect("a connection");
    assert!(checks::remove(&mut conn, &lease).await.expect("runs"));
    (stored, lease)
}

/// The list has what is in review and what has been unknown for long, the longest
/// waiting first, page by page.
#[tokio::test]
async fn reviews_are_listed_by_age() {
    let database = database().await;
    let (first, _) = in_review(&database).await;
    let (mut unknown, _) = asked(&database).await;
    turn(&database, &mut unknown, lost()).await;
    let (last, _) = in_review(&database).await;
    asked(&database).await;

    let ids = async |after, min_unknown, limit| {
        let mut conn = database.pool.acquire().await.expect("a connection");
        let page = ReviewPage {
            after,
            min_unknown,
            limit,
        };
        let listed = lists::in_review(&mut conn, &TenantId::default(), page).await;
        let listed = listed.expect("runs");
        listed
            .into_iter()
            .map(|stored| stored.transaction.id)
            .collect::<Vec<_>>()
    };
    let (a, b, c) = (
        first.transaction.id,
        unknown.transaction.id,
        last.transaction.id,
    );
    assert_eq!(ids(None, Duration::ZERO, 10).await, [a, b, c]);
    assert_eq!(ids(None, Duration::from_secs(600), 10).await, [a, c]);
    assert_eq!(ids(None, Duration::ZERO, 2).await, [a, b]);
    let since = unknown.transaction.unknown_since.expect("it is unknown");
    let after = Some((since, b));
    assert_eq!(ids(after, Duration::ZERO, 2).await, [c]);
}

/// A decision gives the transaction a check that is due, which no run from before
/// can write under, and leaves whoever works on it alone.
#[tokio::test]
async fn a_decision_reopens_the_check() {
    let database = database().await;
    let (mut stored, stale) = in_review(&database).await;
    let id = stored.transaction.id;
    let resolved = Resolved {
        resolution: Resolution::Complete,
        reason: "the provider's statement has it".to_owned(),
        operator: UserId::generate(),
    };
    let step = resolve(&stored.transaction, resolved, &TERMS, now()).expect("allowed");
    write(&database, &mut stored, step).await;
    assert_eq!(stored.transaction.state, State::Settling);

    let mut conn = database.pool.acquire().await.expect("a connection");
    let tenant = TenantId::default();
    let correlation = CorrelationId::generate();
    let holder = Uuid::now_v7();
    for _ in 0..2 {
        let reopened = checks::reopen(&mut conn, &tenant, id, holder, &correlation).await;
        assert!(reopened.expect("runs"), "nobody works on it");
    }
    assert!(!checks::fence(&mut conn, &stale, None).await.expect("runs"));
    let due = checks::take_due(&mut conn, holder, LEASE, 10).await;
    let due = due.expect("runs");
    assert_eq!(due.len(), 1);
    assert!(due[0].epoch > stale.epoch + 1000);
    let busy = checks::reopen(&mut conn, &tenant, id, holder, &correlation).await;
    assert!(!busy.expect("runs"), "recovery works on it");
    checks::close(&mut conn, id).await.expect("runs");
    let gone = checks::fence(&mut conn, &due[0], None).await;
    assert!(!gone.expect("runs"));
}
