//! The process is killed at every point.

use std::collections::BTreeSet;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bursar_testkit::TestProcess;
use futures::FutureExt;
use uuid::Uuid;

use crate::cases::{Case, Way, all, every_minute};
use crate::house::House;
use crate::street::Street;
use crate::traffic::{Flow, Order, ask_all, insist_all};

/// A job that has its turn every minute has had it by then.
pub(crate) const A_MINUTE_AND_MORE: Duration = Duration::from_secs(80);
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// No kill loses, doubles or strands anything. Every second case is tried at the
/// same time, in a house of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point() {
    tokio::join!(lane(0), lane(1));
}

async fn lane(first: usize) {
    let mut street = Street::open().await;
    for case in all().into_iter().skip(first).step_by(2) {
        // The message of what went wrong is followed by where.
        let survived = AssertUnwindSafe(street.survive(case)).catch_unwind().await;
        assert!(survived.is_ok(), "{case:?}");
    }
}

/// The same for the points that come by once a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_cleaning_up() {
    let one = |case| async move { Street::open().await.survive(case).await };
    let [before, after] = every_minute();
    tokio::join!(one(before), one(after));
}

/// Nobody has to end the leases of a killed process: within the time everything
/// comes to its end by itself, also when the callers never ask again.
#[tokio::test]
async fn recovery_needs_nobody() {
    let house = House::open().await;
    for flow in [Flow::Transfer, Flow::Withdrawal] {
        let orders = house.orders(flow).await;
        kill(&house, orders, "advance.after_post", 2).await;
        let process = house.start(&[]).await;
        house.comes_to_rest(&process).await;
        process.stop().await;
        house.agrees().await;
    }
}

/// The books are looked at closely: payouts that the provider tells otherwise, and an
/// answer that is in no database, are found.
#[tokio::test]
async fn what_does_not_fit_is_found() {
    let house = House::open().await;
    let process = house.start(&[]).await;
    let orders = house.orders(Flow::Withdrawal).await;
    let orders = insist_all(orders, &process).await;
    process.stop().await;
    house.holds_answers(&orders).await;
    house.agrees().await;
    sqlx::query("UPDATE movements SET amount_minor = amount_minor + 1 WHERE kind = 'payout'")
        .execute(&house.sandbox_database.owner)
        .await
        .expect("the owner may change the provider's books");
    assert!(
        AssertUnwindSafe(house.agrees())
            .catch_unwind()
            .await
            .is_err()
    );

    let elsewhere = House::open().await;
    let answers = AssertUnwindSafe(elsewhere.holds_answers(&orders));
    assert!(answers.catch_unwind().await.is_err());
}

impl Street {
    /// One kill, and everything that must hold after it.
    pub(crate) async fn survive(&mut self, case: Case) {
        let stage = self.prepare(case).await;
        let mut orders = kill(&self.house, stage.asking, case.point, stage.nth).await;
        orders.extend(stage.silent);
        self.house.let_leases_lapse().await;
        let process = self.house.start(&[]).await;
        self.close(orders, process).await;
    }
}

/// Gives the orders, and waits until the process was killed at the nth time that it
/// came by a point; then every answer that came out of it must be in the database.
pub(crate) async fn kill(house: &House, orders: Vec<Order>, point: &str, nth: usize) -> Vec<Order> {
    let plan = format!("{point}:{nth}");
    let mut process = house.start(&[("BURSAR_CRASH_POINT", &plan)]).await;
    // Only now is there anything for its recovery, which must not end it before
    // it is ready.
    house.let_leases_lapse().await;
    let orders = ask_all(orders, &process).await;
    waits(&mut process).await;
    process.killed().await;
    house.holds_answers(&orders).await;
    orders
}

/// Waits for the process's end for longer than anything else takes. A point that
/// is never reached fails the test after that.
async fn waits(process: &mut TestProcess) {
    let waiting = async {
        while process.is_running() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let _ = tokio::time::timeout(A_MINUTE_AND_MORE, waiting).await;
}

/// A service that nobody kills comes by the points of its requests: the kills above
/// are kills where they say.
#[tokio::test]
async fn the_points_of_requests_are_reached() {
    let house = House::open().await;
    let orders = house.orders(Flow::Withdrawal).await;
    let reached = std::env::temp_dir().join(format!("bursar-points-{}", Uuid::now_v7()));
    let path = reached.to_str().expect("a temporary path is text");
    let process = house.start(&[("BURSAR_CRASH_POINTS_LOG", path)]).await;
    insist_all(orders, &process).await;
    process.stop().await;
    let names = fs::read_to_string(&reached).expect("points were reached");
    fs::remove_file(&reached).expect("the file is ours");
    let names: BTreeSet<&str> = names.lines().collect();
    for case in all() {
        if (case.flow, case.way) == (Flow::Withdrawal, Way::Asking) {
            assert!(names.contains(case.point), "{} in {names:?}", case.point);
        }
    }
}
