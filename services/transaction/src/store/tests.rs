//! The store on a real PostgreSQL: what is written is read back, the log folds
//! to the row, and leases fence.

mod back_office;
mod refunds;
mod reviews;

use std::time::Duration;

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, Money, PositiveMoney};
use bursar_server::now;
use bursar_status::correlation::CorrelationId;
use bursar_testkit::TestDatabase;
use uuid::Uuid;

use super::checks::Lease;
use super::events::EventBatch;
use super::transactions::Stored;
use super::{callbacks, checks, events, transactions};
use crate::domain::{
    Answer, Asked, Event, Initiated, Input, LedgerFault, Looked, Movement, Note, Posted, Price,
    ProviderName, Refusal, RefusalReason, Side, Step, Terms, Transaction, step,
};

const TERMS: Terms = Terms {
    lookup_window: Duration::ZERO,
    give_up_after: Duration::from_secs(900),
};
const LEASE: Duration = Duration::from_secs(60);
const LAPSED: Duration = Duration::ZERO;

async fn database() -> TestDatabase {
    TestDatabase::create(&crate::definition().migrations).await
}

fn sandbox() -> ProviderName {
    "sandbox".parse().expect("a valid name")
}

fn transfer() -> Movement {
    Movement::Transfer {
        from: WalletId::generate(),
        to: WalletId::generate(),
    }
}

fn deposit() -> Movement {
    Movement::Deposit {
        to: WalletId::generate(),
        provider: sandbox(),
    }
}

fn withdrawal() -> Movement {
    Movement::Withdrawal {
        from: WalletId::generate(),
        provider: sandbox(),
        payout_account: None,
    }
}

/// Records a transaction with a lease of this length.
async fn begin(database: &TestDatabase, movement: Movement, lease: Duration) -> (Stored, Lease) {
    let euro = Currency::parse("EUR").expect("a currency");
    let initiated = Initiated {
        movement,
        amount: PositiveMoney::new(euro, 100).expect("positive"),
        price: Price::default(),
        initiator: UserId::generate(),
    };
    let stored = Stored {
        transaction: Transaction::initiate(TransactionId::generate(), initiated.clone(), now()),
        tenant: TenantId::default(),
        description: "lunch".to_owned(),
        refunded_minor: 0,
    };
    let mut conn = database.pool.begin().await.expect("a connection");
    let id = stored.transaction.id;
    let correlation = CorrelationId::generate();
    let lease = checks::insert(
        &mut conn,
        &stored.tenant,
        id,
        Uuid::now_v7(),
        lease,
        &correlation,
    )
    .await
    .expect("a new check");
    assert_eq!(lease.correlation, Some(correlation));
    let batch = EventBatch::new();
    transactions::insert(&mut conn, &stored, &batch)
        .await
        .expect("a new row");
    let log = [Event::Initiated(initiated)];
    batch
        .append(&mut conn, &stored, &log, "usr_1")
        .await
        .expect("a new log");
    conn.commit().await.expect("it commits");
    (stored, lease)
}

fn posted() -> Input {
    Input::Posted(Posted {
        recorded_at: now(),
        beneficiary: Some(UserId::generate()),
    })
}

fn answered(answer: Answer) -> Input {
    Input::Asked(Asked::Answered(answer))
}

fn lost() -> Input {
    Input::Asked(Asked::Lost {
        cause: "timeout".to_owned(),
    })
}

fn accepted() -> Answer {
    Answer::Accepted {
        reference: "po_1".to_owned(),
    }
}

fn succeeded(minor: i64) -> Answer {
    Answer::Succeeded {
        reference: "po_1".to_owned(),
        amount: Money::new(Currency::parse("EUR").expect("a currency"), minor),
    }
}

fn declined() -> Answer {
    Answer::Declined {
        reference: Some("po_1".to_owned()),
        decline_code: "do_not_honor".to_owned(),
    }
}

fn refused() -> Input {
    Input::Refused {
        refusal: Refusal {
            reason: RefusalReason::InsufficientFunds,
            side: Side::Payer,
        },
        sole_attempt: true,
    }
}

/// Every course through the state machine is stored such that the log folds to
/// the row, step by step.
#[tokio::test]
async fn the_log_folds_to_the_row() {
    let database = database().await;
    let found = |answer| Input::Looked(Looked::Found(answer));
    let courses = [
        (transfer(), vec![posted()]),
        (transfer(), vec![refused()]),
        (transfer(), vec![Input::Faulted(LedgerFault::Unbalanced)]),
        (deposit(), vec![answered(succeeded(100)), posted()]),
        (deposit(), vec![answered(declined())]),
        (deposit(), vec![answered(succeeded(99))]),
        (deposit(), vec![lost(), Input::Looked(Looked::NotFound)]),
        (
            withdrawal(),
            vec![posted(), answered(succeeded(100)), posted()],
        ),
        (
            withdrawal(),
            vec![posted(), answered(accepted()), found(declined()), posted()],
        ),
        (
            withdrawal(),
            vec![posted(), lost(), found(succeeded(100)), posted()],
        ),
        (
            withdrawal(),
            vec![posted(), lost(), Input::Looked(Looked::NotFound), posted()],
        ),
        (withdrawal(), vec![refused()]),
    ];
    for (movement, inputs) in courses {
        let (mut stored, _) = begin(&database, movement, LEASE).await;
        for input in [Input::Resume(None)].into_iter().chain(inputs) {
            let step = step(&stored.transaction, input, &TERMS, now()).expect("it fits");
            write(&database, &mut stored, step).await;
        }
        assert!(
            stored.transaction.state.is_at_rest(),
            "{:?}",
            stored.transaction.state
        );
    }
}

/// Writes a step and reads it back both ways.
async fn write(database: &TestDatabase, stored: &mut Stored, step: Step) {
    let from = stored.transaction.version;
    stored.transaction = step.transaction;
    let id = stored.transaction.id;
    let mut conn = database.pool.begin().await.expect("a connection");
    let batch = EventBatch::new();
    let turned = transactions::update(&mut conn, &stored.transaction, from, &batch).await;
    assert!(turned.expect("the row fits its constraints"));
    batch
        .append(&mut conn, stored, &step.events, "usr_1")
        .await
        .expect("new versions");
    conn.commit().await.expect("it commits");

    let mut conn = database.pool.acquire().await.expect("a connection");
    let row = transactions::find(&mut conn, id)
        .await
        .expect("readable")
        .expect("there");
    assert_eq!(&row, stored);
    let log = events::load(&mut conn, id).await.expect("readable");
    let folded = Transaction::fold(id, log).expect("the log is whole");
    assert_eq!(folded, stored.transaction);
}

/// A row turns only from the version that the writer knows.
#[tokio::test]
async fn rows_turn_by_compare_and_set() {
    let database = database().await;
    let (stored, _) = begin(&database, transfer(), LEASE).await;
    let step = step(&stored.transaction, posted(), &TERMS, now()).expect("it fits");
    let mut conn = database.pool.acquire().await.expect("a connection");
    for expected in [true, false] {
        let turned =
            transactions::update(&mut conn, &step.transaction, 1, &EventBatch::new()).await;
        assert_eq!(turned.expect("the statement runs"), expected);
    }
}

/// Whoever was overtaken can neither write, nor release, nor remove.
#[tokio::test]
async fn a_lapsed_lease_fences_once_it_is_taken_over() {
    let database = database().await;
    let (stored, first) = begin(&database, transfer(), LAPSED).await;
    let id = stored.transaction.id;
    let mut conn = database.pool.acquire().await.expect("a connection");
    assert!(
        checks::fence(&mut conn, &first, None).await.expect("runs"),
        "nobody else has it"
    );

    let second = checks::take(&mut conn, id, Uuid::now_v7(), LEASE)
        .await
        .expect("runs");
    let second = second.expect("the first lease has lapsed");
    assert_eq!(second.epoch, first.epoch + 1);
    let third = checks::take(&mut conn, id, Uuid::now_v7(), LEASE)
        .await
        .expect("runs");
    assert!(third.is_none(), "the second lease holds");
    assert!(!checks::fence(&mut conn, &first, None).await.expect("runs"));
    assert!(
        !checks::release(&mut conn, &first, None, LEASE)
            .await
            .expect("runs")
    );
    assert!(!checks::remove(&mut conn, &first).await.expect("runs"));
    assert!(checks::fence(&mut conn, &second, None).await.expect("runs"));
    assert!(checks::remove(&mut conn, &second).await.expect("runs"));
}

/// Recovery gets what is due, each once, with the note of the last run.
#[tokio::test]
async fn due_checks_are_claimed_once() {
    let database = database().await;
    let (_, leased) = begin(&database, transfer(), LEASE).await;
    let (_, lapsed) = begin(&database, transfer(), LAPSED).await;
    let (_, noted) = begin(&database, deposit(), LEASE).await;
    let (_, later) = begin(&database, deposit(), LEASE).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    for (lease, delay) in [(&noted, LAPSED), (&later, LEASE)] {
        let note = Some(Note::Unsent);
        assert!(
            checks::release(&mut conn, lease, note, delay)
                .await
                .expect("runs")
        );
    }

    let holder = Uuid::now_v7();
    let due = checks::take_due(&mut conn, holder, LEASE, 10)
        .await
        .expect("runs");
    let mut notes: Vec<_> = due
        .iter()
        .map(|lease| (lease.transaction, lease.note))
        .collect();
    notes.sort_by_key(|(id, _)| *id);
    assert_eq!(
        notes,
        [
            (lapsed.transaction, None),
            (noted.transaction, Some(Note::Unsent))
        ]
    );
    assert!(due.iter().all(|lease| lease.attempts == 1));
    let again = checks::take_due(&mut conn, holder, LEASE, 10)
        .await
        .expect("runs");
    assert!(
        again.is_empty(),
        "both are at work, {} is not due",
        leased.transaction
    );
}

/// A callback during a run is not forgotten: the next check comes at once.
#[tokio::test]
async fn a_nudge_outlives_the_run() {
    let database = database().await;
    let (stored, lease) = begin(&database, deposit(), LEASE).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    checks::nudge(&mut conn, stored.transaction.id)
        .await
        .expect("runs");
    let holder = Uuid::now_v7();
    let early = checks::take_due(&mut conn, holder, LEASE, 10)
        .await
        .expect("runs");
    assert!(early.is_empty(), "the run is not disturbed");
    assert!(
        checks::release(&mut conn, &lease, None, LEASE)
            .await
            .expect("runs")
    );
    let due = checks::take_due(&mut conn, holder, LEASE, 10)
        .await
        .expect("runs");
    assert_eq!(due.len(), 1);
}

/// A callback that came before its transaction is matched once there is one,
/// and only with a transaction of the same provider.
#[tokio::test]
async fn callbacks_are_matched_later() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let (known, lease) = begin(&database, deposit(), LEASE).await;
    let (other, _) = begin(&database, transfer(), LEASE).await;
    assert!(
        checks::release(&mut conn, &lease, None, LEASE)
            .await
            .expect("runs")
    );
    for (number, id) in [known.transaction.id, other.transaction.id]
        .iter()
        .enumerate()
    {
        // Inserted as it would have been before the transaction was committed.
        sqlx::query(
            "INSERT INTO provider_callbacks
                 (provider, callback_id, tenant_id, kind, reference, body)
             VALUES ('sandbox', $1, 'default', 'charge.succeeded', $2, '')",
        )
        .bind(format!("cb_{number}"))
        .bind(id.to_string())
        .execute(&mut *conn)
        .await
        .expect("a new callback");
    }
    assert_eq!(
        callbacks::match_later(&mut conn, 10).await.expect("runs"),
        1
    );
    assert_eq!(
        callbacks::match_later(&mut conn, 10).await.expect("runs"),
        0
    );
    let due = checks::take_due(&mut conn, Uuid::now_v7(), LEASE, 10)
        .await
        .expect("runs");
    let due: Vec<_> = due.iter().map(|lease| lease.transaction).collect();
    assert_eq!(due, [known.transaction.id]);
}

/// Behind a batch no event is written as a row, where the relay would never publish it;
/// behind a row one is, as programs of the version before do.
#[tokio::test]
async fn no_row_of_events_comes_behind_a_batch() {
    let database = database().await;
    let (stored, _) = begin(&database, transfer(), LEASE).await;
    let step = step(&stored.transaction, posted(), &TERMS, now()).expect("it fits");
    let after = Stored {
        transaction: step.transaction,
        ..stored
    };
    let row = events::encode(events::Told {
        stored: &after,
        events: &step.events,
        actor: "usr_1",
    });
    let mut conn = database.pool.acquire().await.expect("a connection");
    let refused = bursar_events::append(&mut conn, &row).await;
    let refused = refused.expect_err("the first event is in a batch");
    let refused = refused.as_database_error().expect("the database refuses");
    assert_eq!(refused.constraint(), Some("events_refuse_behind_batch"));
    sqlx::query("UPDATE transactions SET event_batches = '{}'")
        .execute(&mut *conn)
        .await
        .expect("it is as the version before leaves it");
    let written = bursar_events::append(&mut conn, &row).await;
    written.expect("it has no batch");
}

/// The application can neither change nor delete what it has recorded as fact.
#[tokio::test]
async fn the_application_cannot_rewrite_history() {
    let database = database().await;
    begin(&database, transfer(), LEASE).await;
    for statement in [
        "UPDATE events SET version = 2",
        "DELETE FROM events",
        "TRUNCATE events",
        "UPDATE event_batches SET versions = '{2}'",
        "DELETE FROM event_batches",
        "TRUNCATE event_batches",
        "DELETE FROM transactions",
        "TRUNCATE transactions",
        "DELETE FROM provider_callbacks",
        "UPDATE provider_callbacks SET body = ''",
        "SET session_replication_role = replica",
    ] {
        let error = sqlx::query(statement)
            .execute(&database.pool)
            .await
            .expect_err(statement);
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
}
