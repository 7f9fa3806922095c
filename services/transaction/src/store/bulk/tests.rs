//! Bulk transfers on a real PostgreSQL: what is written together is read back, the
//! logs fold to the rows, every rule holds, and leases fence.

use std::time::Duration;

use bursar_aip::id::{BulkTransferId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use bursar_server::now;
use bursar_status::correlation::CorrelationId;
use bursar_testkit::TestDatabase;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::bulk::{Bulk, Counts, Item, ItemResult, Mode};
use crate::domain::{
    Event, Initiated, Movement, Price, Refusal, RefusalReason, Side, State, Transaction,
};
use crate::store::bulk_checks::{self, Lease};
use crate::store::events::{EventBatch, Told};
use crate::store::transactions::{self, Stored};
use crate::store::{bulk, bulk_rows, events};

const LEASE: Duration = Duration::from_secs(60);
const LAPSED: Duration = Duration::ZERO;

async fn database() -> TestDatabase {
    TestDatabase::create(&crate::definition().migrations).await
}

fn refusal() -> Refusal {
    Refusal {
        reason: RefusalReason::InsufficientFunds,
        side: Side::Payer,
    }
}

fn new(mode: Mode, transfers: i32) -> (Bulk, Vec<Item>, Vec<Event>) {
    let euro = Currency::parse("EUR").expect("a currency");
    let (initiator, at) = (UserId::generate(), now());
    let bulk = Bulk {
        id: BulkTransferId::generate(),
        tenant: TenantId::default(),
        mode,
        initiator,
        transfers,
        counts: Counts::default(),
        created_at: at,
        updated_at: at,
    };
    let (items, told) = (0..transfers)
        .map(|position| {
            let initiated = Initiated {
                movement: Movement::Transfer {
                    from: WalletId::generate(),
                    to: WalletId::generate(),
                },
                amount: PositiveMoney::new(euro, i64::from(position) + 1).expect("positive"),
                price: Price::default(),
                initiator,
            };
            let id = TransactionId::generate();
            let item = Item {
                position,
                key: format!("item-{position}"),
                stored: Stored {
                    transaction: Transaction::initiate(id, initiated.clone(), at),
                    tenant: TenantId::default(),
                    description: "wages".to_owned(),
                    refunded_minor: 0,
                },
                refusal: None,
            };
            (item, Event::Initiated(initiated))
        })
        .unzip();
    (bulk, items, told)
}

/// Records a bulk transfer with a lease of this length.
async fn begin(
    database: &TestDatabase,
    mode: Mode,
    transfers: i32,
    lease: Duration,
) -> (Bulk, Vec<Item>, Lease) {
    let (new, items, told) = new(mode, transfers);
    let mut conn = database.pool.begin().await.expect("a connection");
    let lease = bulk_checks::insert(
        &mut conn,
        &new.tenant,
        new.id,
        Uuid::now_v7(),
        lease,
        &CorrelationId::generate(),
    )
    .await
    .expect("a new check");
    bulk::insert(&mut conn, &new).await.expect("a new row");
    bulk::insert_items(&mut conn, &new, &items)
        .await
        .expect("new rows");
    let rows: Vec<&Stored> = items.iter().map(|item| &item.stored).collect();
    let batch = EventBatch::new();
    let inserted = bulk_rows::insert(&mut conn, &rows, &batch).await;
    inserted.expect("new rows");
    append(&mut conn, batch, rows.into_iter().zip(&told)).await;
    conn.commit().await.expect("it commits");
    (new, items, lease)
}

/// Tells of each transfer by an event.
async fn append<'a>(
    conn: &mut PgConnection,
    batch: EventBatch,
    told: impl Iterator<Item = (&'a Stored, &'a Event)>,
) {
    let told: Vec<Told<'_>> = told
        .map(|(stored, event)| Told {
            stored,
            events: std::slice::from_ref(event),
            actor: "usr_1",
        })
        .collect();
    let appended = batch.append_all(conn, &told).await;
    appended.expect("new versions");
}

/// Ends transfers, each by its event.
async fn end(
    database: &TestDatabase,
    bulk: &mut Bulk,
    items: &mut [Item],
    ends: &[Event],
    lease: &Lease,
) {
    for (item, event) in items.iter_mut().zip(ends) {
        item.stored
            .transaction
            .apply(event, now())
            .expect("it may follow");
        bulk.counts.add(item.stored.transaction.state);
    }
    let mut conn = database.pool.begin().await.expect("a connection");
    if bulk.is_over() {
        assert!(bulk_checks::remove(&mut conn, lease).await.expect("runs"));
    }
    let ended = &items[..ends.len()];
    let rows: Vec<&Transaction> = ended.iter().map(|item| &item.stored.transaction).collect();
    let batch = EventBatch::new();
    let updated = bulk_rows::update(&mut conn, &rows, &batch).await;
    assert!(updated.expect("they fit"));
    let stored = ended.iter().map(|item| &item.stored);
    append(&mut conn, batch, stored.zip(ends)).await;
    bulk::count(&mut conn, bulk).await.expect("it counts");
    conn.commit().await.expect("it commits");
}

fn completed() -> Event {
    Event::Completed {
        beneficiary: Some(UserId::generate()),
        posted_at: now(),
    }
}

/// Every rule of the database holds, but for the age of events: nobody publishes
/// them here.
async fn verify(database: &TestDatabase) {
    let rules: Vec<_> = crate::definition()
        .invariants
        .into_iter()
        .filter(|rule| rule.number != 10)
        .collect();
    let verdicts = bursar_server::verify(&database.pool, &rules)
        .await
        .expect("the rules can be checked");
    for verdict in verdicts {
        assert_eq!(verdict.offending_rows, 0, "{}", verdict.invariant.name);
    }
}

/// A thousand transfers that were recorded together are read back as they were, in
/// order, and every rule holds while they are under way.
#[tokio::test]
async fn a_recorded_bulk_transfer_is_read_back() {
    let database = database().await;
    let (new, items, lease) = begin(&database, Mode::Atomic, 1000, LEASE).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let found = bulk::find(&mut conn, new.id).await.expect("readable");
    assert_eq!(found.as_ref(), Some(&new));
    assert_eq!(
        bulk::pending(&mut conn, &new).await.expect("readable"),
        items
    );
    let results = bulk::results(&mut conn, &new.tenant, new.id, 990, 100)
        .await
        .expect("readable");
    let expected: Vec<ItemResult> = items[990..].iter().map(ItemResult::of).collect();
    assert_eq!(results, expected);
    let of = bulk::of_transaction(&mut conn, items[7].stored.transaction.id).await;
    assert_eq!(of.expect("readable"), Some(new.id));
    assert_eq!(bulk_checks::count(&mut conn).await.expect("it counts"), 1);
    drop(conn);
    verify(&database).await;
    assert_eq!(lease.attempts, 0);
}

/// Every end of a transfer is stored such that its log folds to its row, and what
/// is not at its end is still to be sent.
#[tokio::test]
async fn logs_fold_to_rows() {
    let database = database().await;
    let (mut new, mut items, lease) = begin(&database, Mode::Independent, 4, LEASE).await;
    let ends = [
        completed(),
        Event::Failed(refusal().failure()),
        Event::ReviewRequired {
            cause: "a fault of ours".to_owned(),
        },
    ];
    end(&database, &mut new, &mut items, &ends, &lease).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    for item in &items {
        let id = item.stored.transaction.id;
        let row = transactions::find(&mut conn, id).await.expect("readable");
        assert_eq!(row.as_ref(), Some(&item.stored));
        let log = events::load(&mut conn, id).await.expect("readable");
        let folded = Transaction::fold(id, log).expect("the log is whole");
        assert_eq!(folded, item.stored.transaction);
    }
    let pending = bulk::pending(&mut conn, &new).await.expect("readable");
    assert_eq!(pending, items[3..]);
    let results = bulk::results(&mut conn, &new.tenant, new.id, 0, 100)
        .await
        .expect("readable");
    let states: Vec<State> = results.iter().map(|result| result.state).collect();
    assert_eq!(
        states,
        [
            State::Completed,
            State::Failed,
            State::ManualReview,
            State::Pending
        ]
    );
    assert_eq!(results[1].failure, Some(refusal().failure()));
    drop(conn);
    verify(&database).await;
}

/// No part of an atomic bulk transfer ends alone: the database refuses it.
#[tokio::test]
async fn the_database_keeps_an_atomic_bulk_transfer_whole() {
    let database = database().await;
    let (mut new, mut items, lease) = begin(&database, Mode::Atomic, 2, LEASE).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let part = Bulk {
        counts: Counts {
            completed: 1,
            ..Counts::default()
        },
        ..new.clone()
    };
    let refused = bulk::count(&mut conn, &part).await.expect_err("a part");
    let constraint = bursar_server::database::constraint(&refused);
    assert_eq!(constraint, Some("bulk_transfers_atomic"));
    drop(conn);
    let ends = [completed(), completed()];
    end(&database, &mut new, &mut items, &ends, &lease).await;
    verify(&database).await;
}

/// Rows turn together from the version that the writer knows, or the writer learns
/// that one did not.
#[tokio::test]
async fn rows_turn_by_compare_and_set() {
    let database = database().await;
    let (_, mut items, _) = begin(&database, Mode::Independent, 3, LEASE).await;
    for item in &mut items {
        let transaction = &mut item.stored.transaction;
        transaction.apply(&completed(), now()).expect("it follows");
    }
    let rows: Vec<&Transaction> = items.iter().map(|item| &item.stored.transaction).collect();
    let mut conn = database.pool.acquire().await.expect("a connection");
    assert!(
        bulk_rows::update(&mut conn, &rows[..1], &EventBatch::new())
            .await
            .expect("runs")
    );
    assert!(
        !bulk_rows::update(&mut conn, &rows, &EventBatch::new())
            .await
            .expect("runs")
    );
}

/// Refusals are noted, read back, and taken back.
#[tokio::test]
async fn refusals_are_noted() {
    let database = database().await;
    let (new, _, _) = begin(&database, Mode::Independent, 3, LEASE).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let notes = [(0, Some(refusal())), (2, Some(refusal()))];
    bulk::note(&mut conn, new.id, &notes).await.expect("runs");
    bulk::note(&mut conn, new.id, &[(2, None)])
        .await
        .expect("runs");
    let noted: Vec<_> = bulk::pending(&mut conn, &new)
        .await
        .expect("readable")
        .into_iter()
        .map(|item| item.refusal)
        .collect();
    assert_eq!(noted, [Some(refusal()), None, None]);
}

/// Recovery gets what is due once, and whoever was overtaken can neither write,
/// nor release, nor remove.
#[tokio::test]
async fn a_lapsed_lease_fences_once_it_is_taken_over() {
    let database = database().await;
    let (_, _, held) = begin(&database, Mode::Atomic, 1, LEASE).await;
    let (due, _, first) = begin(&database, Mode::Atomic, 1, LAPSED).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    assert!(bulk_checks::fence(&mut conn, &first).await.expect("runs"));
    let holder = Uuid::now_v7();
    let taken = bulk_checks::take_due(&mut conn, holder, LEASE, 10)
        .await
        .expect("runs");
    let ids: Vec<_> = taken.iter().map(|lease| lease.bulk).collect();
    assert_eq!(ids, [due.id], "{} is held", held.bulk);
    let third = bulk_checks::take(&mut conn, due.id, holder, LEASE).await;
    assert!(third.expect("runs").is_none(), "the second lease holds");
    assert!(!bulk_checks::fence(&mut conn, &first).await.expect("runs"));
    assert!(!bulk_checks::remove(&mut conn, &first).await.expect("runs"));
    let second = &taken[0];
    assert!(
        bulk_checks::release(&mut conn, second, LAPSED)
            .await
            .expect("runs")
    );
    assert!(
        !bulk_checks::release(&mut conn, &first, LEASE)
            .await
            .expect("runs")
    );
    assert!(bulk_checks::remove(&mut conn, second).await.expect("runs"));
}

/// The application can neither delete a bulk transfer nor give it other transfers.
#[tokio::test]
async fn the_application_cannot_rewrite_what_belongs_together() {
    let database = database().await;
    begin(&database, Mode::Atomic, 1, LEASE).await;
    for statement in [
        "DELETE FROM bulk_transfers",
        "DELETE FROM bulk_transfer_items",
        "UPDATE bulk_transfer_items SET transaction_id = bulk_transfer_id",
        "TRUNCATE bulk_transfer_items",
    ] {
        let error = sqlx::query(statement)
            .execute(&database.pool)
            .await
            .expect_err(statement);
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
}
