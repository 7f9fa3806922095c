//! A house over many disturbances: what comes before each, and what must hold after it.

use std::collections::BTreeSet;

use bursar_testkit::{TestPostgres, TestProcess};
use sqlx::{Postgres, Transaction};

use crate::cases::{Case, Way};
use crate::flow::Flow;
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
    /// When what a dead process has left is found.
    pub(crate) leases: Leases,
    /// Whether the ledger stands still meanwhile.
    pub(crate) is_held_up: bool,
    /// Whether it is to read the provider's list, and from where.
    pub(crate) listing: Option<Listing>,
}

/// When what a dead process has left is found by the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leases {
    /// Once it serves.
    Serving,
    /// As it starts.
    Starting,
    /// By those who ask, and not by itself.
    Asking,
}

/// Where a process reads the provider's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    Provider,
    /// Where nobody answers.
    Nobody,
}

impl Listing {
    /// The variables of a process that does.
    pub(crate) fn variables(self) -> Vec<(&'static str, &'static str)> {
        let mut variables = vec![("BURSAR_RECONCILIATION_LOOKBACK_DAYS", "1")];
        if self == Self::Nobody {
            variables.push(("BURSAR_SANDBOX_URL", "http://127.0.0.1:1"));
        }
        variables
    }
}

impl Stage {
    /// With nothing but these orders.
    pub(crate) fn of(asking: Vec<Order>, nth: usize) -> Self {
        Self {
            asking,
            silent: Vec::new(),
            nth,
            leases: Leases::Serving,
            is_held_up: false,
            listing: None,
        }
    }

    /// The orders that are given, and those that are not.
    pub(crate) fn take_orders(&mut self) -> (Vec<Order>, Vec<Order>) {
        let asking = std::mem::take(&mut self.asking);
        (asking, std::mem::take(&mut self.silent))
    }

    /// What time brings before the process starts.
    pub(crate) async fn before_start(&self, house: &House) {
        match self.leases {
            Leases::Serving => {}
            Leases::Starting => house.let_leases_lapse().await,
            Leases::Asking => house.let_askers_take_over().await,
        }
    }

    /// What time brings once it serves. Only now there is anything for its recovery,
    /// which must not end it before it is ready.
    pub(crate) async fn once_it_serves(&self, house: &House) {
        if self.leases == Leases::Serving {
            house.let_leases_lapse().await;
        }
    }

    /// Holds the ledger up where it is to be.
    pub(crate) async fn hold_up(&self, house: &House) -> Option<Transaction<'static, Postgres>> {
        if self.is_held_up {
            Some(house.hold_up_ledger().await)
        } else {
            None
        }
    }

    /// The variables of its process.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &'static str)> {
        self.listing.map(Listing::variables).unwrap_or_default()
    }
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
        self.house.renew_tokens();
        let orders = self.house.orders(case.flow).await;
        self.take_stock().await;
        let house = &self.house;
        let stage = match case.way {
            Way::Asking => Stage::of(orders, nth(case)),
            Way::Recovering(first) => {
                let orders = kill(house, orders, first, 1).await;
                // Nobody asks, so that nobody but recovery goes on, once the
                // next process serves and the leases are made to lapse.
                Stage {
                    silent: orders,
                    ..Stage::of(Vec::new(), 1)
                }
            }
            Way::AskingAgain(first) => {
                let orders = kill(house, orders, first, 1).await;
                house.let_leases_lapse().await;
                let process = house.start(&[]).await;
                house.comes_to_rest(&process).await;
                process.kill().await;
                Stage::of(orders, 1)
            }
            Way::TakingOver(first) => Stage {
                leases: Leases::Asking,
                ..Stage::of(kill(house, orders, first, 1).await, 1)
            },
            Way::Starting => Stage {
                leases: Leases::Starting,
                ..Stage::of(orders, 1)
            },
            Way::StartingAfter(first) => Stage {
                silent: kill(house, orders, first, 1).await,
                leases: Leases::Starting,
                ..Stage::of(Vec::new(), 1)
            },
        };
        Stage {
            is_held_up: case.flow.is_held_up(),
            listing: match case.flow {
                Flow::List => Some(Listing::Provider),
                Flow::ListUnanswered => Some(Listing::Nobody),
                _ => None,
            },
            ..stage
        }
    }

    /// Everything that must hold in the end, with a process that nobody disturbs.
    pub(crate) async fn close(&mut self, case: Case, orders: Vec<Order>, process: TestProcess) {
        let house = &self.house;
        let process = if case.flow.is_nightly() {
            // A list that was given up is read again some time later.
            house.comes_to_rest(&process).await;
            process.stop().await;
            house.let_retries_come().await;
            let process = house.start(&Listing::Provider.variables()).await;
            house.has_list(&process).await;
            process
        } else {
            process
        };
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
        house.comes_to_rest(&process).await;
        house.has_marks(&orders).await;
        house.needs_nobody().await;
        house.is_published().await;
        house.is_taken_in().await;
        if case.flow == Flow::TransferAfterLoss {
            house.has_stream().await;
        }
        process.stop().await;
        self.ordered
            .extend(orders.iter().flat_map(Order::transactions));
        self.house.has_no_others(&self.ordered).await;
        self.house.agrees().await;
    }
}

/// At which of the times that the process comes by it is struck: the second, where it
/// comes by often enough.
fn nth(case: Case) -> usize {
    let begins = |parts: &[&str]| parts.iter().any(|part| case.point.starts_with(part));
    // At its start the process looks for work that is not there yet.
    let looks = ["_claim_commit", "_lapse_commit", "_purge_commit"];
    if begins(&["matching."]) && looks.iter().any(|look| case.point.ends_with(look)) {
        return 2;
    }
    let by_jobs = ["callbacks.", "cleanup.", "consumer.", "matching.", "relay."];
    // Those that requests may come by together, or of which there is one.
    let once = [
        "endings.",
        "intake.",
        "intents.",
        "reconciliation.before_settings",
    ];
    let is_once = begins(&by_jobs)
        || begins(&once)
        || begins(&["reconciliation.after_settings"])
        || case.flow.is_held_up();
    if is_once { 1 } else { 2 }
}

fn split(orders: Vec<Order>) -> (Vec<Order>, Vec<Order>) {
    let middle = orders.len() / 2;
    let mut eager = orders;
    let patient = eager.split_off(middle);
    (eager, patient)
}
