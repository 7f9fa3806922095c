//! The process is killed at every point.

use std::collections::BTreeSet;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bursar_testkit::TestProcess;
use futures::FutureExt;
use uuid::Uuid;

use crate::cases::{Case, EVERY_MINUTE, Way, all};
use crate::house::House;
use crate::traffic::{Flow, Order, ask_all, insist_all};

/// A job that has its turn every minute has had it by then.
const A_MINUTE_AND_MORE: Duration = Duration::from_secs(80);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

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
    let one = |point| async move {
        let mut street = Street::open().await;
        let (flow, way) = (Flow::Transfer, Way::Asking);
        street.survive(Case { point, flow, way }).await;
    };
    tokio::join!(one(EVERY_MINUTE[0]), one(EVERY_MINUTE[1]));
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

/// A house, and what was ordered in it so far.
struct Street {
    house: House,
    ordered: BTreeSet<String>,
}

impl Street {
    async fn open() -> Self {
        let house = House::open().await;
        let mut street = Self {
            house,
            ordered: BTreeSet::new(),
        };
        street.take_stock().await;
        street
    }

    /// What the house was made with counts as ordered.
    async fn take_stock(&mut self) {
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT 'txn_' || transaction_id::text FROM transactions")
                .fetch_all(&self.house.database.pool)
                .await
                .expect("transactions are read");
        self.ordered.extend(ids);
    }

    /// One kill, and everything that must hold after it.
    async fn survive(&mut self, case: Case) {
        let house = &self.house;
        let orders = house.orders(case.flow).await;
        self.take_stock().await;
        let house = &self.house;
        let orders = match case.way {
            Way::Asking => {
                let nth = if waits_for_jobs(case.point) { 1 } else { 2 };
                kill(house, orders, case.point, nth).await
            }
            Way::Recovering(first) => {
                let orders = kill(house, orders, first, 1).await;
                house.let_leases_lapse().await;
                // Nobody asks, so that nobody but recovery goes on.
                kill(house, Vec::new(), case.point, 1).await;
                orders
            }
            Way::AskingAgain(first) => {
                let orders = kill(house, orders, first, 1).await;
                house.let_leases_lapse().await;
                let process = house.start(&[]).await;
                house.comes_to_rest(&process).await;
                process.kill().await;
                kill(house, orders, case.point, 1).await
            }
        };
        house.let_leases_lapse().await;
        let process = house.start(&[]).await;
        // Half of the callers ask again at once, the others when recovery is done.
        let (eager, patient): (Vec<_>, Vec<_>) = split(orders);
        let eager = insist_all(eager, &process).await;
        house.comes_to_rest(&process).await;
        let patient = insist_all(patient, &process).await;
        house.comes_to_rest(&process).await;
        let orders: Vec<Order> = eager.into_iter().chain(patient).collect();
        // Asked once more, everything is answered as before.
        let orders = insist_all(orders, &process).await;
        house.holds_answers(&orders).await;
        process.stop().await;
        self.ordered
            .extend(orders.iter().flat_map(Order::transactions));
        self.house.has_no_others(&self.ordered).await;
        self.house.agrees().await;
    }
}

/// True for points that no request comes by.
fn waits_for_jobs(point: &str) -> bool {
    ["callbacks.", "cleanup.", "relay."]
        .iter()
        .any(|part| point.starts_with(part))
}

/// Gives the orders, and waits until the process was killed at the nth time that it
/// came by a point; then every answer that came out of it must be in the database.
async fn kill(house: &House, orders: Vec<Order>, point: &str, nth: usize) -> Vec<Order> {
    let plan = format!("{point}:{nth}");
    let mut process = house.start(&[("BURSAR_CRASH_POINT", &plan)]).await;
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

fn split(orders: Vec<Order>) -> (Vec<Order>, Vec<Order>) {
    let middle = orders.len() / 2;
    let mut eager = orders;
    let patient = eager.split_off(middle);
    (eager, patient)
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
