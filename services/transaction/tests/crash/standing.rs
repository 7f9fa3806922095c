//! A process that stands at a point: another takes over what it has begun, or its
//! database goes down and comes back, before it goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bursar_testkit::TestProcess;
use tokio::time::Instant;
use uuid::Uuid;

use crate::cases::Case;
use crate::house::House;
use crate::killed::{A_MINUTE_AND_MORE, LOOK_AGAIN};
use crate::street::{Stage, Street};
use crate::traffic::{Order, ask_all, ask_all_interrupted};

/// How long a frozen process stands still: longer than the provider's window, so
/// that what it was about to send has been given up meanwhile.
const FROZEN: Duration = Duration::from_secs(10);
/// How long a process that goes on has for what it must not do any more. Nothing is
/// waited for here; it is given the occasion.
const OCCASION: Duration = Duration::from_secs(2);

impl Street {
    /// The process freezes at the point, another takes over, and then the first goes
    /// on as if nothing had been. True when the other had finished everything by then.
    pub(crate) async fn survive_freeze(&mut self, case: Case) -> bool {
        let mut stage = self.prepare(case).await;
        let (asking, silent) = stage.take_orders();
        let trail = Trail::new();
        let plan = format!("{}:{}:stop", case.point, stage.nth);
        let house = &self.house;
        let frozen = standing(house, &stage, &plan, &trail).await;
        let mut holding = stage.hold_up(house).await;
        let serves = frozen.has_served();
        // Every second caller does not wait, and asks the other process meanwhile.
        let mut impatient: Vec<Order> = asking.iter().step_by(2).cloned().collect();
        let freezing = async {
            stands(&frozen, &trail, case.point).await;
            drop(holding.take());
            let thaw = Instant::now() + FROZEN;
            let other = house.start(&[("BURSAR_HTTP_ADDRESS", "127.0.0.1:0")]).await;
            house.let_free_leases_lapse().await;
            let insisting = impatient.iter_mut().map(|order| order.insist(&other));
            let insisting = futures::future::join_all(insisting);
            let _ = tokio::time::timeout_at(thaw, insisting).await;
            tokio::time::sleep_until(thaw).await;
            let is_finished = house.is_at_rest().await;
            frozen.go_on();
            (other, is_finished)
        };
        let asked = async {
            if !serves {
                // It stands before it serves, so nobody asks it before it goes on.
                assert!(frozen.serves().await, "it ended:\n{}", frozen.log());
            }
            ask_all_interrupted(asking, &frozen).await
        };
        let (mut orders, (other, is_finished)) = tokio::join!(asked, freezing);
        for (order, elsewhere) in orders.iter_mut().step_by(2).zip(&impatient) {
            order.take_in(elsewhere);
        }
        // Nobody reads a file any more: its bringers have been answered.
        house.let_files_lapse().await;
        house.comes_to_rest(&other).await;
        tokio::time::sleep(OCCASION).await;
        frozen.stop().await;
        house.holds_answers(&orders).await;
        orders.extend(silent);
        self.close(case, orders, other).await;
        is_finished
    }

    /// PostgreSQL is killed while the process stands at the point, and is started
    /// again; the process goes on and finds out by itself.
    pub(crate) async fn survive_database(&mut self, case: Case) {
        let mut stage = self.prepare(case).await;
        let (asking, silent) = stage.take_orders();
        let trail = Trail::new();
        let plan = format!("{}:{}:stop", case.point, stage.nth);
        let house = &self.house;
        let server = self.server.as_mut();
        let server = server.expect("a street with a server of its own");
        let mut process = standing(house, &stage, &plan, &trail).await;
        let mut holding = stage.hold_up(house).await;
        let serves = process.has_served();
        let losing = async {
            stands(&process, &trail, case.point).await;
            drop(holding.take());
            server.kill().await;
            server.restart().await;
            process.go_on();
        };
        let asked = async {
            if !serves {
                assert!(process.serves().await, "it ended:\n{}", process.log());
            }
            ask_all(asking, &process).await
        };
        let (mut orders, ()) = tokio::join!(asked, losing);
        assert!(process.is_running(), "it ended:\n{}", process.log());
        house.holds_answers(&orders).await;
        house.let_files_lapse().await;
        house.comes_to_rest(&process).await;
        orders.extend(silent);
        self.close(case, orders, process).await;
    }
}

/// Where a process writes which points it came by. Gone when it is dropped.
struct Trail(PathBuf);

impl Trail {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("bursar-points-{}", Uuid::now_v7())))
    }

    fn has(&self, point: &str) -> bool {
        let names = std::fs::read_to_string(&self.0);
        names.is_ok_and(|names| names.lines().any(|name| name == point))
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Launches the process that is to stand at a point, and waits until it serves or
/// stands there before it does.
async fn standing(house: &House, stage: &Stage, plan: &str, trail: &Trail) -> TestProcess {
    let mut all = stage.variables();
    all.extend(variables(plan, trail));
    house.let_publishing_lapse().await;
    stage.before_start(house).await;
    let process = house.launch(&all);
    let point = plan.split(':').next().unwrap_or(plan);
    let standing = async {
        while !trail.has(point) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        process.stopped().await;
    };
    let serves = tokio::select! {
        serves = process.serves() => serves,
        () = standing => false,
    };
    if serves {
        stage.once_it_serves(house).await;
    }
    process
}

fn variables<'a>(plan: &'a str, trail: &'a Trail) -> [(&'static str, &'a str); 2] {
    let path: &Path = &trail.0;
    let path = path.to_str().expect("a temporary path is text");
    [
        ("BURSAR_CRASH_POINT", plan),
        ("BURSAR_CRASH_POINTS_LOG", path),
    ]
}

/// Waits until the process stands at the point. Fails when it never comes by, in
/// longer than any job waits for its turn.
async fn stands(process: &TestProcess, trail: &Trail, point: &str) {
    let give_up = Instant::now() + A_MINUTE_AND_MORE;
    while !trail.has(point) {
        assert!(
            Instant::now() < give_up,
            "{point} never fired:\n{}",
            process.log()
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    process.stopped().await;
}
