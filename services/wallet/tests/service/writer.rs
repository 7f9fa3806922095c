//! The queue and the writers by themselves, where what is in one batch can be
//! chosen.

use std::num::NonZeroI64;
use std::time::{Duration, Instant};

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use bursar_money::Currency;
use bursar_server::{now, verify};
use bursar_testkit::TestDatabase;
use bursar_wallet::domain::batch::{Mode, Outcome};
use bursar_wallet::domain::book::SpendOrder;
use bursar_wallet::domain::posting::{Account, Leg, Posting, PostingId, PostingKind};
use bursar_wallet::domain::wallet::{Bucket, SystemAccount, SystemPurpose, Wallet};
use bursar_wallet::error::Error;
use bursar_wallet::invariants::INVARIANTS;
use bursar_wallet::jobs::queue::{Inbox, Ledger, Order, queue};
use bursar_wallet::jobs::writer;
use bursar_wallet::store::wallets;
use tokio::task::JoinHandle;
use uuid::Uuid;

type Answer = JoinHandle<Result<Vec<Outcome>, Error>>;

/// A database with one user's wallet.
async fn database() -> (TestDatabase, WalletId) {
    let database = TestDatabase::create(&bursar_wallet::migrations()).await;
    let wallet = Wallet::open(
        WalletId::generate(),
        TenantId::default(),
        UserId::generate(),
        euro(),
        now(),
    );
    let mut connection = database.pool.acquire().await.expect("a connection");
    assert!(
        wallets::insert(&mut connection, &wallet)
            .await
            .expect("inserted")
    );
    (database, wallet.id)
}

fn euro() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

/// A deposit with a new id.
fn deposit(to: WalletId, amount: i64) -> Posting {
    let tenant = TenantId::default();
    let settlement = SystemAccount {
        purpose: SystemPurpose::Settlement,
        name: "sandbox".to_owned(),
        currency: euro(),
    };
    let leg = |account, amount| Leg {
        account,
        bucket: Bucket::Available.into(),
        amount: NonZeroI64::new(amount).expect("not zero"),
        currency: euro(),
        required_owner: None,
    };
    Posting {
        id: PostingId::from_uuid(Uuid::now_v7()),
        transaction: Some(TransactionId::generate()),
        kind: PostingKind::Deposit,
        legs: vec![
            leg(Account::system(settlement, &tenant), -amount),
            leg(Account::User(to), amount),
        ],
        tenant,
        effective_at: None,
        hold: None,
        bonus: None,
        fingerprint: [0; 32],
    }
}

/// Queues an order and returns once it is in the queue.
async fn order(ledger: &Ledger, postings: Vec<Posting>, mode: Mode) -> Answer {
    order_until(
        ledger,
        postings,
        mode,
        Instant::now() + Duration::from_secs(30),
    )
    .await
}

async fn order_until(
    ledger: &Ledger,
    postings: Vec<Posting>,
    mode: Mode,
    deadline: Instant,
) -> Answer {
    let ledger = ledger.clone();
    let order = Order {
        postings,
        mode,
        actor: "service:test".to_owned(),
        deadline,
    };
    let answer = tokio::spawn(async move { ledger.post(order).await });
    // On the test's one thread the order is queued before this goes on.
    tokio::task::yield_now().await;
    answer
}

/// Writes everything that is queued, and ends.
async fn drain(ledger: Ledger, inbox: Inbox, database: &TestDatabase) {
    drop(ledger);
    writer::run(inbox, database.pool.clone(), SpendOrder::default())
        .await
        .expect("the writers end");
}

fn is_applied(outcomes: &[Outcome]) -> bool {
    outcomes
        .iter()
        .all(|outcome| matches!(outcome, Outcome::Applied(_)))
}

/// Makes the database refuse entries of 666, which no rule of ours would.
async fn poison(database: &TestDatabase) {
    sqlx::query("ALTER TABLE entries ADD CONSTRAINT poison CHECK (amount <> 666)")
        .execute(&database.owner)
        .await
        .expect("the owner may");
}

/// How many transactions wrote postings.
async fn transactions(database: &TestDatabase) -> i64 {
    sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM postings")
        .fetch_one(&database.pool)
        .await
        .expect("postings")
}

/// Calls that gathered in the queue are written in one transaction, at most
/// 200 postings of them, and a call is never cut.
#[tokio::test]
async fn queued_calls_share_a_transaction() {
    for (sizes, batches) in [
        (vec![1; 200], 1),
        (vec![1; 201], 2),
        (vec![150, 60, 1], 2),
        (vec![1_000, 1], 2),
    ] {
        let (database, wallet) = database().await;
        let (ledger, inbox) = queue(8_000);
        let mut answers = Vec::new();
        for size in sizes {
            let postings = (0..size).map(|_| deposit(wallet, 1)).collect();
            answers.push(order(&ledger, postings, Mode::Independent).await);
        }
        drain(ledger, inbox, &database).await;
        for answer in answers {
            let outcomes = answer.await.expect("no panic").expect("answered");
            assert!(is_applied(&outcomes));
        }
        assert_eq!(transactions(&database).await, batches);
    }
}

/// The queue takes as many postings as it has room for; the next call is
/// refused at once, and there is room again once they are answered.
#[tokio::test]
async fn a_full_queue_refuses_calls() {
    let (database, wallet) = database().await;
    let (ledger, inbox) = queue(10);
    let many = || (0..9).map(|_| deposit(wallet, 1)).collect::<Vec<_>>();
    let first = order(&ledger, many(), Mode::Atomic).await;
    let too_many = order(&ledger, vec![deposit(wallet, 1); 2], Mode::Atomic).await;
    let refused = too_many.await.expect("no panic");
    assert!(
        matches!(refused, Err(Error::LedgerOverloaded)),
        "{refused:?}"
    );
    let fits = order(&ledger, vec![deposit(wallet, 1)], Mode::Atomic).await;
    let writers = tokio::spawn(writer::run(
        inbox,
        database.pool.clone(),
        SpendOrder::default(),
    ));
    for answer in [first, fits] {
        assert!(is_applied(
            &answer.await.expect("no panic").expect("answered")
        ));
    }
    let again = order(&ledger, many(), Mode::Atomic).await;
    assert!(is_applied(
        &again.await.expect("no panic").expect("answered")
    ));
    drop(ledger);
    writers.await.expect("no panic").expect("the writers end");
}

/// A call that the database refuses for a reason of its own fails alone: its
/// neighbours in the batch are written, and so are the other postings of an
/// independent call, as asking again shows.
#[tokio::test]
async fn a_poisoned_posting_fails_alone() {
    let (database, wallet) = database().await;
    poison(&database).await;
    let (ledger, inbox) = queue(8_000);
    let mut neighbours = Vec::new();
    for _ in 0..5 {
        neighbours.push(order(&ledger, vec![deposit(wallet, 1)], Mode::Independent).await);
    }
    let alone = order(&ledger, vec![deposit(wallet, 666)], Mode::Independent).await;
    let mixed_postings = vec![deposit(wallet, 2), deposit(wallet, 666), deposit(wallet, 3)];
    let mixed = order(&ledger, mixed_postings.clone(), Mode::Independent).await;
    let together = vec![deposit(wallet, 4), deposit(wallet, 666)];
    let atomic = order(&ledger, together, Mode::Atomic).await;
    neighbours.push(order(&ledger, vec![deposit(wallet, 1)], Mode::Atomic).await);
    let writers = tokio::spawn(writer::run(
        inbox,
        database.pool.clone(),
        SpendOrder::default(),
    ));
    for neighbour in neighbours {
        assert!(is_applied(
            &neighbour.await.expect("no panic").expect("answered")
        ));
    }
    for poisoned in [alone, mixed, atomic] {
        let failed = poisoned.await.expect("no panic");
        assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
    }
    let good = vec![mixed_postings[0].clone(), mixed_postings[2].clone()];
    let again = order(&ledger, good, Mode::Independent).await;
    let again = again.await.expect("no panic").expect("answered");
    assert!(
        again
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Replayed(_))),
        "{again:?}"
    );
    drop(ledger);
    writers.await.expect("no panic").expect("the writers end");
    let available: i64 = sqlx::query_scalar("SELECT available FROM wallets WHERE id = $1")
        .bind(wallet.uuid())
        .fetch_one(&database.pool)
        .await
        .expect("the wallet");
    assert_eq!(available, 6 + 2 + 3);
}

/// A call whose deadline is past when a writer comes to it is not applied.
#[tokio::test]
async fn a_late_call_is_not_applied() {
    let (database, wallet) = database().await;
    let (ledger, inbox) = queue(8_000);
    let late = vec![deposit(wallet, 1)];
    let late = order_until(&ledger, late, Mode::Independent, Instant::now()).await;
    let timely = order(&ledger, vec![deposit(wallet, 1)], Mode::Independent).await;
    drain(ledger, inbox, &database).await;
    let late = late.await.expect("no panic");
    assert!(matches!(late, Err(Error::LedgerTooLate)), "{late:?}");
    assert!(is_applied(
        &timely.await.expect("no panic").expect("answered")
    ));
    let verdicts = verify(&database.pool, &INVARIANTS).await.expect("queries");
    let entries = verdicts
        .iter()
        .filter(|verdict| verdict.invariant.number < 8);
    assert!(
        entries
            .into_iter()
            .all(|verdict| verdict.offending_rows == 0)
    );
}

/// Callers that leave before the writers begin are posted all the same.
#[tokio::test]
async fn abandoned_calls_are_posted() {
    let (database, wallet) = database().await;
    let (ledger, inbox) = queue(8_000);
    for _ in 0..50 {
        let call = order(&ledger, vec![deposit(wallet, 1)], Mode::Independent).await;
        call.abort();
        call.await.expect_err("it was dropped");
    }
    drain(ledger, inbox, &database).await;
    let posted: i64 = sqlx::query_scalar("SELECT count(*) FROM postings")
        .fetch_one(&database.pool)
        .await
        .expect("postings");
    assert_eq!(posted, 50);
}
