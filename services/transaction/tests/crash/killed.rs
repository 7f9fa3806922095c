//! The process is killed at every point.

use std::collections::BTreeSet;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bursar_testkit::{TestProcess, side_by_side};
use futures::FutureExt;
use uuid::Uuid;

use crate::cases::{Case, Way, all, every_minute};
use crate::flow::Flow;
use crate::house::House;
use crate::street::{Stage, Street};
use crate::traffic::{Order, ask_all, insist_all};

/// A job that has its turn every minute has had it by then.
pub(crate) const A_MINUTE_AND_MORE: Duration = Duration::from_secs(80);
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// No kill loses, doubles or strands anything. Some cases are tried at the same time,
/// each lane in a house of its own: two that are busy, and one that mostly waits.
#[test]
fn killed_at_every_point() {
    let (patient, busy): (Vec<Case>, Vec<Case>) = all().into_iter().partition(Case::waits);
    let every_second = |first| busy.iter().copied().skip(first).step_by(2).collect();
    let lanes: [Vec<Case>; 3] = [every_second(0), every_second(1), patient];
    side_by_side(lanes.map(|cases| || lane(cases)));
}

async fn lane(cases: Vec<Case>) {
    let mut street = Street::open().await;
    for case in cases {
        // The message of what went wrong is followed by where.
        let survived = AssertUnwindSafe(street.survive(case)).catch_unwind().await;
        assert!(survived.is_ok(), "{case:?}");
    }
}

/// The same for the points that come by once a minute: as many processes on one
/// database as there are such points, and each is killed at its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_cleaning_up() {
    let mut street = Street::open().await;
    let cases = every_minute();
    let house = &street.house;
    house.let_keys_expire().await;
    let mut processes = Vec::new();
    for case in cases {
        let plan = ("BURSAR_CRASH_POINT", case.point);
        let elsewhere = ("BURSAR_HTTP_ADDRESS", "127.0.0.1:0");
        processes.push(house.start(&[plan, elsewhere]).await);
    }
    let mut orders = house.orders(Flow::Transfer).await;
    for process in &processes {
        orders = ask_all(orders, process).await;
    }
    for mut process in processes {
        waits(&mut process).await;
        process.killed().await;
    }
    house.holds_answers(&orders).await;
    // Those who were killed after it had done it.
    house.has_no_expired_keys().await;
    house.let_leases_lapse().await;
    house.let_publishing_lapse().await;
    let process = house.start(&[]).await;
    let [case, ..] = cases;
    street.close(case, orders, process).await;
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
        let mut stage = self.prepare(case).await;
        let (asking, silent) = stage.take_orders();
        let mut orders = kill_on(&self.house, stage, asking, case.point).await;
        orders.extend(silent);
        self.house.let_leases_lapse().await;
        self.house.let_publishing_lapse().await;
        let process = self.house.start(&[]).await;
        self.close(case, orders, process).await;
    }
}

/// Gives the orders, and waits until the process was killed at the nth time that it
/// came by a point; then every answer that came out of it must be in the database.
pub(crate) async fn kill(house: &House, orders: Vec<Order>, point: &str, nth: usize) -> Vec<Order> {
    kill_on(house, Stage::of(Vec::new(), nth), orders, point).await
}

/// The same on a stage that is set.
async fn kill_on(house: &House, stage: Stage, orders: Vec<Order>, point: &str) -> Vec<Order> {
    let plan = format!("{point}:{}", stage.nth);
    let mut variables = stage.variables();
    variables.push(("BURSAR_CRASH_POINT", &plan));
    house.let_publishing_lapse().await;
    stage.before_start(house).await;
    let mut process = house.launch(&variables);
    if process.serves().await {
        stage.once_it_serves(house).await;
    }
    let holding = stage.hold_up(house).await;
    let orders = ask_all(orders, &process).await;
    waits(&mut process).await;
    drop(holding);
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
