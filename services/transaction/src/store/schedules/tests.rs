//! Schedules on a real PostgreSQL: what is written is read back, pages have everything
//! once, and leases fence.

use std::time::Duration;

use bursar_aip::id::{ScheduleId, TransactionId, UserId};
use bursar_testkit::TestDatabase;
use time::macros::time;
use uuid::Uuid;

use super::checks::Lease;
use super::*;
use crate::schedule::sample::{at, daily};
use crate::schedule::{RunFailure, RunState, ScheduleRun};

const LEASE: Duration = Duration::from_secs(60);
const LAPSED: Duration = Duration::ZERO;

async fn database() -> TestDatabase {
    TestDatabase::create(&crate::definition().migrations).await
}

fn new() -> Schedule {
    Schedule {
        id: ScheduleId::generate(),
        ..daily()
    }
}

/// The one schedule whose check is due, for a new holder.
async fn take(conn: &mut PgConnection, lease: Duration) -> Option<Lease> {
    let taken = checks::take_due(conn, Uuid::now_v7(), lease, 10).await;
    taken.expect("checks are taken").pop()
}

/// Every unit, state and bound comes back as it went, and a turned schedule as it was
/// turned.
#[tokio::test]
async fn schedules_are_read_back() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let recurring = |unit, interval, zone: &str| {
        let zone = Zone::parse(zone).expect("there is such a zone");
        let recurrence = Recurrence::starting(unit, interval, time!(7:45), zone, at(0));
        Timing::Recurring(recurrence.expect("it has a first date"))
    };
    for timing in [
        Timing::Once,
        recurring(Unit::Day, 366, "Pacific/Apia"),
        recurring(Unit::Week, 2, "America/Sao_Paulo"),
        recurring(Unit::Month { day: 31 }, 1, "Europe/Berlin"),
    ] {
        let mut schedule = Schedule {
            timing,
            end_at: Some(at(900)),
            max_runs: Some(7),
            ..new()
        };
        schedule.missed.rule = MissedRule::RunAll;
        insert(&mut conn, &schedule).await.expect("it is written");
        let found = find(&mut conn, schedule.id).await.expect("it is read");
        assert_eq!(found.as_ref(), Some(&schedule));
        for state in [
            State::Paused(PauseCause::Owner),
            State::Paused(PauseCause::Operator),
            State::Paused(PauseCause::FailedRuns),
            State::Cancelled,
            State::Ended,
        ] {
            schedule.state = state;
            schedule.next_run_at = None;
            schedule.run_count += 1;
            schedule.failures_in_a_row += 1;
            schedule.version += 1;
            schedule.updated_at = at(i64::from(schedule.run_count));
            schedule.tier += 1;
            update(&mut conn, &schedule).await.expect("it is written");
            let found = find(&mut conn, schedule.id).await.expect("it is read");
            assert_eq!(found.as_ref(), Some(&schedule));
        }
    }
}

/// Runs are written together, turned, and read back; one of a schedule is open at most.
#[tokio::test]
async fn runs_are_read_back() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let schedule = new();
    let run = |number, state, attempts: usize| ScheduleRun {
        number,
        due_at: at(24 * i64::from(number)),
        state,
        transactions: (0..attempts).map(|_| TransactionId::generate()).collect(),
        failure: None,
        started_at: (attempts > 0).then(|| at(24 * i64::from(number))),
        ended_at: matches!(state, RunState::Skipped).then(|| at(99)),
    };
    let skipped = [run(1, RunState::Skipped, 0), run(2, RunState::Skipped, 0)];
    let mut last = run(3, RunState::Started, 1);
    let all = [&skipped[..], &[last.clone()]].concat();
    let (tenant, id) = (&schedule.tenant, schedule.id);
    runs::write(&mut conn, tenant, id, &all)
        .await
        .expect("they are written");
    let open = runs::open(&mut conn, id).await.expect("it is read");
    assert_eq!(open.as_ref(), Some(&last));

    last.state = RunState::Retrying(at(80));
    last.transactions.push(TransactionId::generate());
    last.failure = Some(RunFailure {
        reason: "INSUFFICIENT_FUNDS".to_owned(),
        message: "not enough".to_owned(),
    });
    runs::write(&mut conn, tenant, id, &[last.clone()])
        .await
        .expect("it is written");
    let listed = runs::list(&mut conn, id, None, 10).await.expect("a list");
    let [first, second] = skipped;
    assert_eq!(listed, [last, second, first.clone()]);
    let page = runs::list(&mut conn, id, Some(2), 10)
        .await
        .expect("a page");
    assert_eq!(page, [first]);

    let another = run(4, RunState::Started, 1);
    let refused = runs::write(&mut conn, tenant, id, &[another]).await;
    let refused = refused.expect_err("one is open");
    let constraint = refused
        .as_database_error()
        .and_then(|error| error.constraint());
    assert_eq!(constraint, Some("schedule_runs_open"));
}

/// A lease is one holder's until it lapses, and whoever was overtaken can neither write,
/// give it back nor end it; a check that went and came back is no old holder's either.
#[tokio::test]
async fn leases_fence() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let schedule = new();
    let (tenant, id) = (&schedule.tenant, schedule.id);
    checks::open(&mut conn, tenant, id, Uuid::now_v7(), Duration::ZERO)
        .await
        .expect("it is written");
    let first = take(&mut conn, LAPSED).await.expect("it is due");
    let second = take(&mut conn, LEASE).await.expect("the lease has lapsed");
    assert!(second.epoch > first.epoch);
    assert_eq!((first.attempts, second.attempts), (1, 2));
    assert!(take(&mut conn, LEASE).await.is_none(), "it is held");

    assert!(
        !checks::fence(&mut conn, &first, LEASE)
            .await
            .expect("a fence")
    );
    let released = checks::release(&mut conn, &first, LAPSED, true).await;
    assert!(!released.expect("a release"));
    assert!(!checks::remove(&mut conn, &first).await.expect("a removal"));

    assert!(
        checks::fence(&mut conn, &second, LEASE)
            .await
            .expect("a fence")
    );
    let released = checks::release(&mut conn, &second, LAPSED, true).await;
    assert!(released.expect("a release"));
    let third = take(&mut conn, LEASE).await.expect("it was given back");
    assert_eq!(third.attempts, 1, "it got on");
    assert!(checks::remove(&mut conn, &third).await.expect("a removal"));
    checks::open(&mut conn, tenant, id, Uuid::now_v7(), Duration::ZERO)
        .await
        .expect("it is written");
    assert!(
        !checks::fence(&mut conn, &third, LEASE)
            .await
            .expect("a fence")
    );
    let fourth = take(&mut conn, LEASE).await.expect("it is due");
    assert!(fourth.epoch > third.epoch);
}

/// A check that is due later is brought forward, never put off.
#[tokio::test]
async fn checks_are_brought_forward() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let schedule = new();
    let (tenant, id) = (&schedule.tenant, schedule.id);
    for (wait, is_due) in [(LEASE, false), (Duration::ZERO, true)] {
        checks::open(&mut conn, tenant, id, Uuid::now_v7(), wait)
            .await
            .expect("it is written");
        let late = checks::lateness_s(&mut conn).await.expect("a number");
        assert_eq!(late, 0);
        let taken = take(&mut conn, LAPSED).await;
        assert_eq!(taken.is_some(), is_due);
    }
    checks::open(&mut conn, tenant, id, Uuid::now_v7(), LEASE)
        .await
        .expect("it is written");
    assert!(take(&mut conn, LEASE).await.is_some(), "it was due before");
}

/// What is over makes room, and another user's schedules take none.
#[tokio::test]
async fn living_schedules_are_counted() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let (mine, cancelled, another) = (new(), new(), new());
    let cancelled = Schedule {
        state: State::Cancelled,
        ..cancelled
    };
    let another = Schedule {
        initiator: UserId::generate(),
        ..another
    };
    for schedule in [&mine, &cancelled, &another] {
        insert(&mut conn, schedule).await.expect("it is written");
    }
    let count = count_living(&mut conn, &mine.tenant, mine.initiator).await;
    assert_eq!(count.expect("a number"), 1);
    let user = Some(mine.initiator);
    let listed = list(&mut conn, &mine.tenant, user, None, 10).await;
    assert_eq!(listed.expect("a list"), [cancelled.clone(), mine.clone()]);
    let page = list(&mut conn, &mine.tenant, user, Some(cancelled.id), 10).await;
    assert_eq!(page.expect("a page"), std::slice::from_ref(&mine));
    let all = list(&mut conn, &mine.tenant, None, None, 10).await;
    assert_eq!(all.expect("a list").len(), 3);
}
