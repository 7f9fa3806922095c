//! PostgreSQL is killed under the service, which lives on.

use std::collections::HashSet;
use std::time::Duration;

use bursar_testkit::{TestDatabase, TestPostgres};
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use crate::house::House;
use crate::load::{callers, together};
use crate::points::POINTS;

/// How often it is killed in the middle of a commit.
const ROUNDS: usize = 20;
/// How many laps the callers make in a round.
const LAPS: usize = 1;
/// Holds each commit back between its record and its flush, in microseconds, so
/// that a kill meets it there.
const SLOW_COMMITS: [(&str, &str); 2] = [("commit_delay", "15000"), ("commit_siblings", "0")];
/// How long a commit may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

async fn open(settings: &[(&str, &str)]) -> (TestPostgres, House) {
    let server = TestPostgres::start(settings).await;
    let database = TestDatabase::create_on(server.options(), &bursar_wallet::migrations()).await;
    let house = House::open(database).await;
    (server, house)
}

/// Twenty kills in the middle of a commit, of the whole server or of the session
/// that commits: the service recovers by itself, callers that try again get one
/// result each, and nothing is lost or doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_a_commit() {
    let (mut server, mut house) = open(&SLOW_COMMITS).await;
    let mut process = house.start(&[]).await;
    for round in 0..ROUNDS {
        let poster = house.poster(&process);
        let insisting = poster.clone();
        let callers = callers(&house.wallets);
        let working = tokio::spawn(together(callers, move |caller| {
            caller.insist(insisting.clone(), LAPS)
        }));
        let session = committing(&server, 1 + round % 5).await;
        if round % 2 == 0 {
            server.kill().await;
            server.restart().await;
        } else {
            server.kill_session(session);
            server.answers().await;
        }
        let callers = working.await.expect("all callers are answered");
        let callers = together(callers, |caller| caller.settle(poster.clone())).await;
        house.close_round(&callers).await;
        assert!(process.is_running(), "it ended:\n{}", process.log());
    }
    process.stop().await;
}

/// The server goes down and comes back while the service stands at some point of
/// the write path; going on, the service finds out by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_service_stands_at_any_point() {
    let (mut server, mut house) = open(&[]).await;
    for point in POINTS {
        let plan = format!("{point}:3:stop");
        let mut process = house.start(&[("BURSAR_CRASH_POINT", &plan)]).await;
        let poster = house.poster(&process);
        let insisting = poster.clone();
        let callers = callers(&house.wallets);
        let working = tokio::spawn(together(callers, move |caller| {
            caller.insist(insisting.clone(), LAPS)
        }));
        process.stopped().await;
        server.kill().await;
        server.restart().await;
        process.go_on();
        let callers = working.await.expect("all callers are answered");
        let callers = together(callers, |caller| caller.settle(poster.clone())).await;
        house.close_round(&callers).await;
        assert!(process.is_running(), "it ended:\n{}", process.log());
        process.stop().await;
    }
}

/// Waits until the service is in the middle of its nth commit from now; the
/// session that commits.
async fn committing(server: &TestPostgres, nth: usize) -> i32 {
    let mut connection = PgConnection::connect_with(&server.options())
        .await
        .expect("the server answers");
    let watching = async {
        let mut seen: HashSet<(i32, OffsetDateTime)> = HashSet::new();
        loop {
            let commits: Vec<(i32, OffsetDateTime)> = sqlx::query_as(
                "SELECT pid, query_start FROM pg_stat_activity
                 WHERE application_name = 'bursar-wallet' AND state = 'active'
                     AND query ILIKE 'commit%'",
            )
            .fetch_all(&mut connection)
            .await
            .expect("a superuser sees all sessions");
            let session = commits.last().map(|(session, _)| *session);
            seen.extend(commits);
            if let Some(session) = session
                && seen.len() >= nth
            {
                break session;
            }
        }
    };
    let session = tokio::time::timeout(PATIENCE, watching).await;
    let _ = connection.close().await;
    session.expect("the service commits")
}
