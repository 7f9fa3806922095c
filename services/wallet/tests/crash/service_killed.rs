//! The service's process is killed at every step of the write path.

use std::fs;

use bursar_testkit::TestDatabase;
use uuid::Uuid;

use crate::house::House;
use crate::load::{Caller, callers, together};
use crate::points::POINTS;

/// How often it is killed at each point.
const ROUNDS: usize = 20;
/// At which of the times that the point is reached, round by round: at the first
/// batch of a process, and anywhere later.
const HITS: [usize; 8] = [1, 2, 9, 4, 17, 1, 6, 12];

/// Twenty kills at every point lose and double nothing. Two points are tried at
/// the same time, each with a database of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point() {
    tokio::join!(lane(0), lane(1));
}

/// Every second point, from the first or the second on.
async fn lane(first: usize) {
    for point in POINTS.iter().skip(first).step_by(2) {
        killed_at(point).await;
    }
}

async fn killed_at(point: &str) {
    let database = TestDatabase::create(&bursar_wallet::migrations()).await;
    let mut house = House::open(database).await;
    for round in 0..ROUNDS {
        let callers = callers(&house.wallets);
        let mut callers = kill(&house, callers, point, HITS[round % HITS.len()]).await;
        if round % 4 == 3 {
            // Killed again while the unanswered calls are repeated.
            callers = kill(&house, callers, point, 1).await;
        }
        let process = house.start(&[]).await;
        let poster = house.poster(&process);
        let callers = together(callers, |caller| caller.settle(poster.clone())).await;
        house.close_round(&callers).await;
        process.kill().await;
    }
}

/// Lets the callers work until the process is killed at a point; then every
/// answer that came out of it must be in the database.
async fn kill(house: &House, callers: Vec<Caller>, point: &str, hit: usize) -> Vec<Caller> {
    let plan = format!("{point}:{hit}");
    let process = house.start(&[("BURSAR_CRASH_POINT", &plan)]).await;
    let poster = house.poster(&process);
    let callers = together(callers, |caller| caller.work(poster.clone())).await;
    process.killed().await;
    house.books.hold_answers(&callers).await;
    callers
}

/// A service that nobody kills comes by every point: the kills above are kills
/// where they say.
#[tokio::test]
async fn every_point_is_reached() {
    let database = TestDatabase::create(&bursar_wallet::migrations()).await;
    let house = House::open(database).await;
    let reached = std::env::temp_dir().join(format!("bursar-points-{}", Uuid::now_v7()));
    let path = reached.to_str().expect("a temporary path is text");
    let process = house.start(&[("BURSAR_CRASH_POINTS_LOG", path)]).await;
    let poster = house.poster(&process);
    together(callers(&house.wallets), |caller| {
        caller.insist(poster.clone(), 1)
    })
    .await;
    process.stop().await;
    let names = fs::read_to_string(&reached).expect("points were reached");
    fs::remove_file(&reached).expect("the file is ours");
    let names: Vec<&str> = names.lines().collect();
    let missing = POINTS.iter().filter(|point| !names.contains(point));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
