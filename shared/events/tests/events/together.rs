//! Handlers that take the events of several aggregates in one transaction.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bursar_events::consumer::{Consumer, Handling, Kinds};
use bursar_events::relay::republish;
use bursar_events::{Event, HandlerError, Received};
use sqlx::{Executor, PgConnection};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::fixture::{Fixture, GROUP, event_of, record};

const BEGAN: &str = "test.began";
const ENDED: &str = "test.ended";

/// A consumer of ends only.
fn consumer(fixture: &Fixture) -> Consumer {
    Consumer {
        kinds: Kinds::Only(vec![ENDED]),
        ..fixture.consumer()
    }
}

/// Publishes a beginning and an end of each aggregate, such that who reads one of them
/// can read all.
async fn publish(fixture: &Fixture, aggregates: &[Uuid]) {
    let relay = fixture.relay();
    let events: Vec<Event> = aggregates
        .iter()
        .flat_map(|&id| [event_of(BEGAN, id, 1), event_of(ENDED, id, 2)])
        .collect();
    // In one transaction, so that they come to the stream at once.
    fixture.append(&events).await;
    fixture.until_published().await;
    relay.stop().await;
}

fn aggregates(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| Uuid::now_v7()).collect()
}

/// The ends of some aggregates, in the order of their ids.
fn ends(aggregates: &[Uuid]) -> Vec<(Uuid, i64)> {
    aggregates.iter().map(|&id| (id, 2)).collect()
}

async fn record_all(
    connection: &mut PgConnection,
    events: &[&Received],
) -> Result<(), HandlerError> {
    for event in events {
        record(connection, event).await?;
    }
    Ok(())
}

async fn effects(fixture: &Fixture) -> Vec<(Uuid, i64)> {
    let mut effects = fixture.effects().await;
    effects.sort_unstable();
    effects
}

/// What came together takes effect in one transaction, each event once, and nothing of
/// it again when it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_together_takes_effect_together() {
    let fixture = Fixture::new().await;
    let mut ids = aggregates(40);
    publish(&fixture, &ids).await;
    let most = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&most);
    let consumer = fixture.consume_together(consumer(&fixture), move |connection, events| {
        noted.fetch_max(events.len(), Ordering::SeqCst);
        Box::pin(record_all(connection, events))
    });
    fixture.until_effects(40).await;
    fixture.until_acknowledged(GROUP).await;
    assert_eq!(effects(&fixture).await, ends(&ids));
    let together = most.load(Ordering::SeqCst);
    assert!(together > 1, "they came one by one");
    let transactions: i64 = sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM effects")
        .fetch_one(&fixture.pool)
        .await
        .unwrap();
    assert!(transactions <= 40 / 2, "{transactions} for 40 events");

    let since = OffsetDateTime::now_utc() - Duration::from_secs(600);
    let mut connection = fixture.pool.acquire().await.unwrap();
    assert_eq!(republish(&mut connection, since).await.unwrap(), 80);
    drop(connection);
    let more = aggregates(5);
    publish(&fixture, &more).await;
    ids.extend(more);
    fixture.until_effects(45).await;
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    assert_eq!(effects(&fixture).await, ends(&ids));
}

/// One event that cannot be handled keeps none of those that came with it: what the
/// handler wrote of them together is gone, and each takes effect once by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_keeps_none_of_its_company() {
    let fixture = Fixture::new().await;
    let ids = aggregates(20);
    let bad = ids[7];
    publish(&fixture, &ids).await;
    let consumer = fixture.consume_together(consumer(&fixture), move |connection, events| {
        Box::pin(async move {
            for event in events {
                if event.aggregate_id == bad {
                    return Err(HandlerError::poison("bad"));
                }
                record(connection, event).await?;
            }
            Ok(())
        })
    });
    fixture.until_effects(19).await;
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    let mut good = ends(&ids);
    good.retain(|&(id, _)| id != bad);
    assert_eq!(effects(&fixture).await, good);
    assert_eq!(fixture.stats().await.dead_letters, 1);
}

/// How a handler fails.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Fails,
    Panics,
    PanicsAtOnce,
    Hangs,
}

/// Takes what comes alone, and fails with what comes together.
fn alone_only<'a>(
    mishap: Mishap,
    connection: &'a mut PgConnection,
    events: &'a [&'a Received],
) -> Handling<'a> {
    let is_alone = events.len() == 1;
    assert!(is_alone || !matches!(mishap, Mishap::PanicsAtOnce));
    Box::pin(async move {
        record_all(connection, events).await?;
        match mishap {
            _ if is_alone => Ok(()),
            Mishap::Fails => Err(HandlerError::poison("not together")),
            Mishap::Panics | Mishap::PanicsAtOnce => panic!("not together"),
            Mishap::Hangs => pending().await,
        }
    })
}

/// A handler that fails, panics or hangs with events that come together: nothing of that
/// stays, and each event takes effect once by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_together_is_handled_one_by_one() {
    for mishap in [
        Mishap::Fails,
        Mishap::Panics,
        Mishap::PanicsAtOnce,
        Mishap::Hangs,
    ] {
        let fixture = Fixture::new().await;
        let ids = aggregates(20);
        publish(&fixture, &ids).await;
        // An event that is slow by itself, on a loaded machine, has more tries.
        let consumer = Consumer {
            handler_timeout: Duration::from_secs(1),
            max_attempts: 100,
            ..consumer(&fixture)
        };
        let most = Arc::new(AtomicUsize::new(0));
        let noted = Arc::clone(&most);
        let consumer = fixture.consume_together(consumer, move |connection, events| {
            noted.fetch_max(events.len(), Ordering::SeqCst);
            alone_only(mishap, connection, events)
        });
        fixture.until_effects(20).await;
        fixture.until_acknowledged(GROUP).await;
        consumer.stop().await;
        assert!(most.load(Ordering::SeqCst) > 1, "{mishap:?}: one by one");
        assert_eq!(effects(&fixture).await, ends(&ids), "{mishap:?}");
        assert_eq!(fixture.stats().await.dead_letters, 0, "{mishap:?}");
    }
}

/// Events that wait together for a row that a lane has locked do not keep that lane from
/// its end: none is tried twice, as those are that run into the timeout.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_goes_on_while_others_wait_for_it_together() {
    let fixture = Fixture::new().await;
    let table = "CREATE TABLE shared (count bigint NOT NULL);
                 INSERT INTO shared VALUES (0);
                 GRANT SELECT, UPDATE ON shared TO bursar_events_test";
    fixture.owner.execute(table).await.unwrap();
    let mut ids = aggregates(21);
    let first = ids[0];
    let (tried, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (locked, joined) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let noted = (Arc::clone(&tried), Arc::clone(&most));
    let told = (Arc::clone(&locked), Arc::clone(&joined));
    let consumer = Consumer {
        handler_timeout: Duration::from_secs(30),
        ..consumer(&fixture)
    };
    let consumer = fixture.consume_together(consumer, move |connection, events| {
        noted.0.fetch_add(events.len(), Ordering::SeqCst);
        noted.1.fetch_max(events.len(), Ordering::SeqCst);
        let (locked, joined) = told.clone();
        Box::pin(async move {
            let is_first = events.iter().any(|event| event.aggregate_id == first);
            if !is_first {
                joined.notify_one();
            }
            connection
                .execute("UPDATE shared SET count = count + 1")
                .await?;
            if is_first {
                locked.notify_one();
                joined.notified().await;
            }
            record_all(connection, events).await
        })
    });
    publish(&fixture, &ids[..1]).await;
    locked.notified().await;
    publish(&fixture, &ids[1..]).await;
    fixture.until_effects(21).await;
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    ids.sort_unstable();
    assert_eq!(effects(&fixture).await, ends(&ids));
    assert!(most.load(Ordering::SeqCst) > 1, "they came one by one");
    assert_eq!(tried.load(Ordering::SeqCst), 21, "some were tried again");
}

/// A consumer that is stopped finishes what has begun together, and acknowledges it.
#[tokio::test(flavor = "multi_thread")]
async fn what_began_together_is_finished_at_a_stop() {
    let fixture = Fixture::new().await;
    let ids = aggregates(20);
    publish(&fixture, &ids).await;
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let told = (Arc::clone(&began), Arc::clone(&go_on));
    let consumer = fixture.consume_together(consumer(&fixture), move |connection, events| {
        let (began, go_on) = told.clone();
        Box::pin(async move {
            began.notify_one();
            go_on.notified().await;
            record_all(connection, events).await
        })
    });
    began.notified().await;
    // The stop is told first.
    tokio::join!(consumer.stop(), async { go_on.notify_one() });
    assert_eq!(effects(&fixture).await, ends(&ids));
    fixture.until_acknowledged(GROUP).await;
}
