//! Ten thousand callers that leave at any moment cost the service no connection.
//!
//! A future that is dropped while it opens a transaction would give its
//! connection back with the transaction open: the next to get it would work in
//! somebody else's transaction, or the connection would be gone for good.

use std::sync::Arc;
use std::time::Duration;

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::{
    BatchMode, CreateWalletRequest, GetWalletRequest, ListWalletsRequest, Wallet,
};
use bursar_testkit::with_token;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::desk::{Desk, keyed, place};
use crate::support::{Fixture, Poster, applied, deposit, eventually, transfer, waiting_writers};

const CALLS: u32 = 10_000;
/// How many callers there are at once, and after how many the sessions are counted.
const AT_ONCE: usize = 48;
/// How many connections the callers share.
const CONNECTIONS: usize = 8;
const CHECK_EVERY: u32 = 2_000;
/// In how many looks in a row nothing is under way when all that callers left
/// behind is done: between two steps of it one look may see nothing.
const CALM_LOOKS: u32 = 30;
/// A small pool, so that a leaked connection would soon be missed.
const MAX_CONNECTIONS: u32 = 6;
/// The writers' sessions are not of the pool.
const WRITERS: i64 = 2;
/// Leaving is spread over the time that a call takes, from its first poll on.
const LATEST_LEAVING_US: u64 = 120_000;

/// Sessions of the service, by what they do. `pool` must be of the service's own
/// role: the server hides from others what a session does.
async fn sessions(pool: &PgPool, state: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'bursar-wallet'
             AND state LIKE $1",
    )
    .bind(state)
    .fetch_one(pool)
    .await
    .expect("sessions are counted")
}

/// When the nth caller leaves: at every moment of a call equally often.
fn patience(call: u32) -> Duration {
    // A prime step through the range visits all of it in no order.
    Duration::from_micros(u64::from(call.wrapping_mul(7_919)) % LATEST_LEAVING_US)
}

/// One of the calls that use the database in their own ways; true when it was
/// answered before the caller left.
async fn call(callers: &Callers, number: u32) -> bool {
    let (alice, bob) = (&callers.alice, &callers.bob);
    let asking = async {
        match number % 6 {
            0 => {
                let mut ledger = callers.ledger.clone();
                let posting = vec![transfer(alice, bob, 1)];
                let posted = ledger.try_post(posting, BatchMode::Independent).await;
                posted.map(drop)
            }
            1 => callers.desk.place(place(alice, 1)).await.map(drop),
            2 => callers.open(number, false).await,
            3 => callers.open(number, true).await,
            4 => callers.list().await,
            _ => callers.read().await,
        }
    };
    match tokio::time::timeout(patience(number), asking).await {
        Ok(Ok(())) => true,
        // Others that left took the connection with them: the server closes one
        // on which too many do.
        Ok(Err(status)) => {
            assert_ne!(status.code(), Code::Internal, "{status:?}");
            false
        }
        Err(_) => false,
    }
}

/// What the callers share.
#[derive(Clone)]
struct Callers {
    desk: Desk,
    ledger: Poster,
    alice: Wallet,
    bob: Wallet,
    tokens: Arc<[String]>,
}

impl Callers {
    /// Callers on a connection of their own.
    fn of(fixture: &Fixture, alice: &Wallet, bob: &Wallet) -> Self {
        // A user may own only so many wallets.
        let users = (0..64).map(|_| fixture.tokens.user(UserId::generate()));
        let channel = fixture.service.channel();
        Self {
            desk: Desk::at(fixture, channel.clone()),
            ledger: Poster {
                client: LedgerServiceClient::new(channel),
                ..fixture.ledger()
            },
            alice: alice.clone(),
            bob: bob.clone(),
            tokens: users.collect(),
        }
    }

    async fn open(&self, number: u32, with_key: bool) -> Result<(), Status> {
        let request = CreateWalletRequest {
            currency_code: "EUR".to_owned(),
        };
        let token = &self.tokens[number as usize % self.tokens.len()];
        let request = if with_key {
            keyed(request, token, &Uuid::now_v7().to_string())
        } else {
            with_token(request, token)
        };
        let mut wallets = self.desk.wallets.clone();
        wallets.create_wallet(request).await.map(drop)
    }

    async fn list(&self) -> Result<(), Status> {
        let request = with_token(ListWalletsRequest::default(), &self.tokens[0]);
        let mut wallets = self.desk.wallets.clone();
        wallets.list_wallets(request).await.map(drop)
    }

    async fn read(&self) -> Result<(), Status> {
        let request = GetWalletRequest {
            wallet_id: self.alice.wallet_id.clone(),
            ..GetWalletRequest::default()
        };
        let mut wallets = self.desk.wallets.clone();
        let request = with_token(request, &self.desk.token);
        wallets.get_wallet(request).await.map(drop)
    }
}

/// After each couple of thousand no session is left inside a transaction and the
/// pool is whole; at the end it serves everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_that_leave_leak_no_connection() {
    let limit = MAX_CONNECTIONS.to_string();
    let fixture = Fixture::start_with(&[("BURSAR_DATABASE_MAX_CONNECTIONS", &limit)]).await;
    let alice = fixture.funded("EUR", 1_000_000).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let callers = (0..CONNECTIONS).map(|_| Callers::of(&fixture, &alice, &bob));
    let callers: Vec<Callers> = callers.collect();
    let (mut running, mut answered) = (JoinSet::new(), 0_u32);
    for number in 0..CALLS {
        let callers = callers[number as usize % CONNECTIONS].clone();
        running.spawn(async move { call(&callers, number).await });
        if running.len() == AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            answered += u32::from(ended.expect("no panic"));
        }
        if (number + 1).is_multiple_of(CHECK_EVERY) {
            while let Some(ended) = running.join_next().await {
                answered += u32::from(ended.expect("no panic"));
            }
            let fresh = Callers::of(&fixture, &alice, &bob);
            is_whole(&fixture, &fresh).await;
        }
    }
    let left = CALLS - answered;
    assert!(
        left > CALLS / 4,
        "only {left} callers left before their answer"
    );
    assert!(answered > CALLS / 100, "only {answered} callers stayed");

    let result = fixture.ledger().post_one(deposit(&bob, 5)).await;
    applied(&result);
    fixture.verify().await;
}

/// No session of the service stays in a transaction, none is too many, and every one
/// of the pool works. What was under way is given a moment, which is shorter
/// than the time after which the server would end a forgotten transaction itself.
async fn is_whole(fixture: &Fixture, callers: &Callers) {
    let pool = &fixture.database.pool;
    let mut calm_looks = 0;
    let settling = eventually("nothing is under way", async || {
        let is_calm = sessions(pool, "active").await == 0
            && sessions(pool, "idle in transaction%").await == 0;
        calm_looks = if is_calm { calm_looks + 1 } else { 0 };
        calm_looks == CALM_LOOKS
    });
    tokio::time::timeout(Duration::from_secs(6), settling)
        .await
        .expect("no transaction is forgotten");
    let sessions = sessions(pool, "%").await;
    let limit = i64::from(MAX_CONNECTIONS) + WRITERS;
    assert!((1..=limit).contains(&sessions), "{sessions} sessions");
    every_connection_works(fixture, callers).await;
}

/// With the wallets locked from outside as many calls get hold of a connection
/// as the pool may have, and each is served when the lock is gone.
async fn every_connection_works(fixture: &Fixture, callers: &Callers) {
    let owner = &fixture.database.owner;
    let mut locked = owner.begin().await.expect("a transaction");
    sqlx::raw_sql("LOCK TABLE wallets IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .expect("the owner may lock");
    let mut listing = JoinSet::new();
    for _ in 0..MAX_CONNECTIONS {
        let callers = callers.clone();
        listing.spawn(async move { callers.list().await });
    }
    eventually("every connection waits for the lock", async || {
        waiting_writers(&fixture.database.pool).await == i64::from(MAX_CONNECTIONS)
    })
    .await;
    locked.rollback().await.expect("released");
    for listed in listing.join_all().await {
        listed.expect("wallets are listed");
    }
}
