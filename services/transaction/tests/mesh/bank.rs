//! A bank under faults: 24 clients move money between 16 wallets in three currencies
//! while answers are lost, the provider misbehaves, wires break and callbacks come twice;
//! then the history of all requests and all books are checked for anything that was
//! lost, doubled or made up, and for every wallet's order.
//!
//! | part | what it does |
//! |---|---|
//! | [`clients`] | ask, and write down what they asked and were told |
//! | [`trouble`] | brings the faults |
//! | [`books`] | reads what the services have written |
//! | [`check`] | compares the two; pure, with tests of its own |
//!
//! The seed is in the message of a failed run; `BURSAR_BANK_SEED` sets it. It fixes
//! what is asked for and which faults come, not how they meet.

mod books;
mod check;
mod clients;
mod history;
mod trouble;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bursar_aip::id::UserId;
use bursar_testkit::Tokens;
use futures::future::join_all;
use rand::RngExt;
use rand::rngs::StdRng;
use uuid::Uuid;

use clients::Client;
use history::{Call, Kind, Outcome, Wish};

use crate::support::Mesh;

const CLIENTS: u64 = 24;
/// How many keys are asked for at the same time in the end.
const AT_ONCE: usize = 24;
/// How many things one client asks for at most.
const CALLS: usize = 25;
/// How long there are faults.
const TROUBLE: Duration = Duration::from_secs(10);
/// Within what time after them everything must have come to an end. That is a bound
/// for a loaded machine; else it takes a fraction of it.
const REST: Duration = Duration::from_secs(120);
/// The pause before it is looked at again whether everything has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How many calls there are at least, on however slow a machine.
const FEWEST_CALLS: usize = 40;
/// What each wallet has at first; little, so that some payments are refused.
const FUNDS: i64 = 1_500;
/// The wallets of each currency.
const CURRENCIES: [(&str, usize); 3] = [("EUR", 6), ("USD", 5), ("JPY", 5)];
/// A breaker that does not stay open for longer than the faults of a moment last.
const PROVIDERS: &str = r#"[{"name": "sandbox", "breaker": {"window_ms": 2000,
    "minimum_calls": 20, "failure_percent": 80, "open_ms": 500}}]"#;

/// A user with one wallet.
#[derive(Clone)]
struct Customer {
    token: String,
    account: Uuid,
    currency: &'static str,
}

/// The mesh, its customers, and what can be given back.
struct Bank {
    mesh: Mesh,
    customers: Vec<Customer>,
    operator: String,
    done: Mutex<Vec<(Uuid, Wish)>>,
}

/// Nothing is lost, doubled or made up, and every wallet's entries are in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_under_faults_keeps_its_books() {
    let seed: u64 = match std::env::var("BURSAR_BANK_SEED") {
        Ok(seed) => seed.parse().expect("a seed is a number"),
        Err(_) => rand::random(),
    };
    let (bank, mut calls) = Bank::open().await;
    let until = Instant::now() + TROUBLE;
    let clients = (0..CLIENTS).map(|client| {
        let seed = seed ^ (client + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Client::new(&bank, seed).work(CALLS, until)
    });
    let faults = async { tokio::join!(join_all(clients), bank.trouble(seed, until)).0 };
    let rest = async {
        calls.extend(faults.await.into_iter().flatten());
        bank.comes_to_rest(&mut calls, seed).await;
    };
    tokio::select! {
        () = rest => {}
        () = bank.pass_callbacks_on() => {}
    }
    for some in calls.chunks_mut(AT_ONCE) {
        join_all(some.iter_mut().map(|call| bank.ask_again(call))).await;
    }
    let asked: usize = calls.iter().map(|call| call.attempts.len()).sum();
    let evidence = bank.evidence(calls).await;
    let count = evidence.calls.len();
    assert!(count >= FEWEST_CALLS, "{count} calls");
    let violations = check::check(&evidence);
    assert!(
        violations.is_empty(),
        "with the seed {seed}, {count} calls and {asked} requests: {violations:#?}"
    );
    bank.mesh.verify().await;
}

impl Bank {
    /// A bank whose wallets have some money each, and the calls that brought it.
    async fn open() -> (Self, Vec<Call>) {
        let mesh = Mesh::start_with(&[("BURSAR_PROVIDERS", PROVIDERS)]).await;
        let mut customers = Vec::new();
        for (currency, wallets) in CURRENCIES {
            for _ in 0..wallets {
                customers.push(open_account(&mesh, currency).await);
            }
        }
        let operator = token(&mesh, UserId::generate(), "refund:create:any");
        let bank = Self {
            mesh,
            customers,
            operator,
            done: Mutex::default(),
        };
        let funding = bank.customers.iter().map(|customer| async {
            let mut call = Call {
                key: Uuid::now_v7().to_string(),
                wish: Wish {
                    kind: Kind::Deposit,
                    from: None,
                    to: Some(customer.account),
                    currency: customer.currency.to_owned(),
                    amount_minor: FUNDS,
                    original: None,
                },
                attempts: Vec::new(),
            };
            bank.insist(&mut call).await;
            call
        });
        let calls = tokio::time::timeout(REST, join_all(funding)).await;
        let calls = calls.expect("without faults every deposit is answered in time");
        (bank, calls)
    }

    /// Everything is answered and comes to its end in time, once there are no faults.
    async fn comes_to_rest(&self, calls: &mut [Call], seed: u64) {
        let resting = async {
            join_all(calls.iter_mut().map(|call| self.insist(call))).await;
            while self.mesh.count(UNDER_WAY).await > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let rested = tokio::time::timeout(REST, resting).await;
        assert!(
            rested.is_ok(),
            "with the seed {seed}, no end after {REST:?}"
        );
    }

    /// Keeps in mind what a client knows to be done, if it can be given back.
    fn remember(&self, call: &Call) {
        let answer = call.answers().next();
        let done = answer.filter(|answer| answer.outcome == Outcome::Completed);
        let id = done.and_then(|answer| answer.transaction);
        if let Some(id) = id
            && matches!(call.wish.kind, Kind::Transfer | Kind::Deposit)
        {
            self.known().push((id, call.wish.clone()));
        }
    }

    /// Something that can be given back.
    fn something_done(&self, dice: &mut StdRng) -> Option<(Uuid, Wish)> {
        let known = self.known();
        let count = known.len();
        (count > 0).then(|| known[dice.random_range(0..count)].clone())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<(Uuid, Wish)>> {
        self.done.lock().expect("no client panics at the list")
    }

    /// The other accounts of a customer's currency.
    fn others(&self, who: &Customer) -> Vec<Uuid> {
        let others = self
            .customers
            .iter()
            .filter(|other| other.currency == who.currency && other.account != who.account);
        others.map(|other| other.account).collect()
    }
}

const UNDER_WAY: &str =
    "SELECT count(*) FROM transactions WHERE state NOT IN ('COMPLETED', 'FAILED')";

async fn open_account(mesh: &Mesh, currency: &'static str) -> Customer {
    let person = mesh.person();
    let wallet = person.wallet_in(currency).await;
    let account = wallet.trim_start_matches("wal_").parse();
    Customer {
        token: token(mesh, person.id, "refund:create:own"),
        account: account.expect("a wallet's id has a UUID"),
        currency,
    }
}

/// A token of a user with one permission more than users have.
fn token(mesh: &Mesh, id: UserId, permission: &str) -> String {
    let mut claims = Tokens::user_claims(id);
    claims.permissions.push(permission.to_owned());
    mesh.tokens.mint(claims)
}
