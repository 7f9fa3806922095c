//! The frame around effects, on a real database and with a real ledger.

use std::num::NonZeroI64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::r#type::v1::Money;
use bursar_money::Currency;
use bursar_status::StatusExt;
use bursar_testkit::TestDatabase;
use tokio::sync::Notify;
use tonic::Code;

use super::*;
use crate::domain::batch::{Mode, Outcome};
use crate::domain::book::SpendOrder;
use crate::domain::posting::{Account, Leg, Posting, PostingKind};
use crate::domain::wallet::{Bucket, SystemAccount, SystemPurpose, Wallet};
use crate::jobs::queue::{Ledger, Order, queue};
use crate::jobs::writer;
use crate::store::wallets;

async fn database() -> TestDatabase {
    TestDatabase::create(&crate::migrations()).await
}

fn call(key: Option<&str>, amount: i64) -> Call {
    Call {
        tenant: TenantId::default(),
        principal: "service:shop".to_owned(),
        method: "/bursar.wallet.v1.HoldService/PlaceHold",
        key: key.map(|key| Key::parse(key).expect("a key")),
        fingerprint: idempotency::fingerprint(&money(amount)),
    }
}

fn money(minor_units: i64) -> Money {
    Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    }
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().expect("a reason").reason.clone()
}

fn is_replay<T>(result: &Result<Response<T>, Status>) -> bool {
    let metadata = match result {
        Ok(response) => response.metadata(),
        Err(status) => status.metadata(),
    };
    metadata.contains_key(idempotency::REPLAYED)
}

/// Of twenty duplicates at once one takes effect, and all hear its answer.
#[tokio::test]
async fn duplicates_take_effect_once() {
    let database = database().await;
    let effects = Arc::new(AtomicUsize::new(0));
    let calls = (0..20).map(|_| {
        let (pool, effects) = (database.pool.clone(), Arc::clone(&effects));
        tokio::spawn(async move {
            once(&pool, &call(Some("k"), 1), async |_, operation| {
                let count = effects.fetch_add(1, Ordering::SeqCst);
                let _ = operation;
                tokio::task::yield_now().await;
                Ok(money(i64::try_from(count).unwrap_or_default() + 7))
            })
            .await
        })
    });
    let mut replays = 0;
    for call in calls.collect::<Vec<_>>() {
        let result = call.await.expect("no panic");
        replays += usize::from(is_replay(&result));
        assert_eq!(result.expect("answered").into_inner(), money(7));
    }
    assert_eq!((effects.load(Ordering::SeqCst), replays), (1, 19));
}

/// The same key with another request is refused; another key, principal or
/// method is another operation.
#[tokio::test]
async fn a_key_is_bound_to_its_request() {
    let database = database().await;
    let run = async |call: &Call| {
        once(&database.pool, call, async |_, operation| {
            Ok(money(i64::from(operation.id.as_bytes()[0]) + 1))
        })
        .await
    };
    run(&call(Some("k"), 1)).await.expect("the first");
    let other = run(&call(Some("k"), 2)).await.expect_err("another request");
    assert_eq!(other.code(), Code::AlreadyExists);
    assert_eq!(reason(&other), "IDEMPOTENCY_KEY_REUSED");
    let mine = call(Some("k"), 1);
    let strangers = [
        call(Some("l"), 1),
        Call {
            principal: "service:bank".to_owned(),
            ..call(Some("k"), 1)
        },
        Call {
            method: "/bursar.wallet.v1.HoldService/VoidHold",
            ..call(Some("k"), 1)
        },
    ];
    for stranger in &strangers {
        assert_ne!(stranger.operation().id, mine.operation().id);
        assert!(!is_replay(&run(stranger).await));
    }
    assert_ne!(
        call(None, 1).operation().id,
        call(None, 1).operation().id,
        "without a key every call is one of its own"
    );
}

/// Operation ids are stored as ids of postings, so they may never change.
#[test]
fn operation_ids_are_stable() {
    let operation = call(Some("k"), 1).operation();
    assert_eq!(operation, call(Some("k"), 1).operation());
    assert_eq!(
        operation.id.to_string(),
        "364879ad-7d3a-555c-b45d-ce9ea1239b91"
    );
    assert_ne!(operation.derive("a"), operation.derive("b"));
}

/// A refusal is kept with its details, and nothing that the effect wrote before it.
#[tokio::test]
async fn refusals_are_kept_and_leave_nothing() {
    let database = database().await;
    let wallet = WalletId::generate();
    for is_second in [false, true] {
        let result = once(&database.pool, &call(Some("k"), 1), async |conn, _| {
            open(conn, wallet).await;
            Err::<Money, _>(Error::WalletNotEmpty { wallet })
        })
        .await;
        assert_eq!(is_replay(&result), is_second);
        let refused = result.expect_err("refused");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "WALLET_NOT_EMPTY");
    }
    let mut connection = database.pool.acquire().await.expect("a connection");
    let found = wallets::find(&mut connection, &TenantId::default(), wallet, None).await;
    assert_eq!(found.expect("a query"), None);
}

/// A failure that may pass leaves the key free and nothing written.
#[tokio::test]
async fn failures_are_not_kept() {
    let database = database().await;
    let wallet = WalletId::generate();
    let failed = once(&database.pool, &call(Some("k"), 1), async |conn, _| {
        open(conn, wallet).await;
        Err::<Money, _>(Error::LedgerOverloaded)
    })
    .await;
    assert_eq!(failed.expect_err("full").code(), Code::ResourceExhausted);
    let again = once(&database.pool, &call(Some("k"), 2), async |conn, _| {
        open(conn, wallet).await;
        Ok(money(5))
    })
    .await;
    assert!(!is_replay(&again));
    assert_eq!(again.expect("answered").into_inner(), money(5));
}

/// An effect that is cut off after its posting, before its answer, posts
/// nothing more when it is done again; with another request it is refused, and
/// that is not kept.
#[tokio::test]
async fn an_effect_that_was_cut_off_posts_once() {
    let database = database().await;
    let wallet = WalletId::generate();
    let mut connection = database.pool.acquire().await.expect("a connection");
    open(&mut connection, wallet).await;
    drop(connection);
    let (ledger, inbox) = queue(1_000);
    let writers = tokio::spawn(writer::run(
        inbox,
        database.pool.clone(),
        SpendOrder::default(),
    ));

    let posted = Arc::new(Notify::new());
    let cut_off = {
        let (pool, ledger, posted) = (database.pool.clone(), ledger.clone(), posted.clone());
        tokio::spawn(async move {
            once(&pool, &call(Some("k"), 9), async |_, operation| {
                deposit(&ledger, wallet, operation).await?;
                posted.notify_one();
                std::future::pending::<Result<Money, Error>>().await
            })
            .await
        })
    };
    posted.notified().await;
    cut_off.abort();
    assert!(cut_off.await.expect_err("it was cut off").is_cancelled());

    let run = async |amount| {
        once(
            &database.pool,
            &call(Some("k"), amount),
            async |_, operation| deposit(&ledger, wallet, operation).await,
        )
        .await
    };
    let other = run(8).await.expect_err("another request");
    assert_eq!(reason(&other), "IDEMPOTENCY_KEY_REUSED");
    let again = run(9).await;
    assert!(!is_replay(&again));
    assert_eq!(again.expect("answered").into_inner(), money(1));
    assert!(is_replay(&run(9).await));
    let available: i64 = sqlx::query_scalar("SELECT available FROM wallets WHERE id = $1")
        .bind(wallet.uuid())
        .fetch_one(&database.pool)
        .await
        .expect("the wallet");
    assert_eq!(available, 9);
    drop(ledger);
    writers.await.expect("no panic").expect("the writers end");
}

async fn open(conn: &mut PgConnection, id: WalletId) {
    let wallet = Wallet::open(id, TenantId::default(), UserId::generate(), euro(), now());
    assert!(wallets::insert(conn, &wallet).await.expect("inserted"));
}

fn euro() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

/// Deposits 9; answers 0 when it was posted now and 1 when it was before.
async fn deposit(ledger: &Ledger, to: WalletId, operation: Operation) -> Result<Money, Error> {
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
    let posting = Posting {
        id: operation.posting(),
        transaction: None,
        kind: PostingKind::Deposit,
        legs: vec![
            leg(Account::system(settlement, &tenant), -9),
            leg(Account::User(to), 9),
        ],
        tenant,
        effective_at: None,
        hold: None,
        bonus: None,
        fingerprint: operation.fingerprint,
    };
    let order = Order {
        postings: vec![posting.clone()],
        mode: Mode::Independent,
        actor: "service:test".to_owned(),
        deadline: Instant::now() + Duration::from_secs(30),
    };
    match ledger.post(order).await?.pop() {
        Some(Outcome::Applied(_)) => Ok(money(0)),
        Some(Outcome::Replayed(_)) => Ok(money(1)),
        Some(Outcome::Rejected(rejected)) => Err(Error::rejected(&posting, rejected)),
        None => panic!("one outcome a posting"),
    }
}
