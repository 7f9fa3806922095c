//! A house over many disturbances: what comes before each, and what must hold after it.

use std::collections::BTreeSet;

use bursar_testkit::{TestPostgres, TestProcess};

use crate::cases::{Case, Way};
use crate::house::House;
use crate::killed::kill;
use crate::traffic::{Order, insist_all};

/// A house, and what was ordered in it so far. Fields are dropped in order.
pub(crate) struct Street {
    pub(crate) house: House,
    /// Where our databases are, when it is nobody else's server.
    pub(crate) server: Option<TestPostgres>,
    ordered: BTreeSet<String>,
}

/// What is ready when the process starts that comes by the point.
pub(crate) struct Stage {
    /// Orders that bring it there.
    pub(crate) asking: Vec<Order>,
    /// Orders that nobody asks about meanwhile.
    pub(crate) silent: Vec<Order>,
    /// At which of the times that it comes by.
    pub(crate) nth: usize,
}

impl Street {
    /// With databases on the server that all tests share.
    pub(crate) async fn open() -> Self {
        Self::open_with(None).await
    }

    /// With our databases on a server that can be killed.
    pub(crate) async fn open_on_own_server() -> Self {
        Self::open_with(Some(TestPostgres::start(&[]).await)).await
    }

    async fn open_with(server: Option<TestPostgres>) -> Self {
        let mut street = Self {
            house: House::open_on(server.as_ref()).await,
            server,
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

    /// Brings about what comes before a case's point.
    pub(crate) async fn prepare(&mut self, case: Case) -> Stage {
        let orders = self.house.orders(case.flow).await;
        self.take_stock().await;
        let house = &self.house;
        let (asking, silent, nth) = match case.way {
            Way::Asking => {
                let nth = if may_come_by_once(case.point) { 1 } else { 2 };
                (orders, Vec::new(), nth)
            }
            Way::Recovering(first) => {
                let orders = kill(house, orders, first, 1).await;
                // Nobody asks, so that nobody but recovery goes on, once the
                // next process serves and the leases are made to lapse.
                (Vec::new(), orders, 1)
            }
            Way::AskingAgain(first) => {
                let orders = kill(house, orders, first, 1).await;
                house.let_leases_lapse().await;
                let process = house.start(&[]).await;
                house.comes_to_rest(&process).await;
                process.kill().await;
                (orders, Vec::new(), 1)
            }
        };
        Stage {
            asking,
            silent,
            nth,
        }
    }

    /// Everything that must hold in the end, with a process that nobody disturbs.
    pub(crate) async fn close(&mut self, orders: Vec<Order>, process: TestProcess) {
        let house = &self.house;
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

/// True for points that not every request comes by: those of jobs, and those that
/// requests may come by together.
fn may_come_by_once(point: &str) -> bool {
    ["callbacks.", "cleanup.", "relay.", "intents.", "endings."]
        .iter()
        .any(|part| point.starts_with(part))
}

fn split(orders: Vec<Order>) -> (Vec<Order>, Vec<Order>) {
    let middle = orders.len() / 2;
    let mut eager = orders;
    let patient = eager.split_off(middle);
    (eager, patient)
}
