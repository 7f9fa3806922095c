//! Handlers that take the events of several aggregates in one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bursar_events::consumer::{Consumer, Handling, Kinds};
use bursar_events::relay::republish;
use bursar_events::{HandlerError, Received};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fixture::{Fixture, GROUP, Running, event_of, record};

const BEGAN: &str = "test.began";
const ENDED: &str = "test.ended";

/// A consumer of ends only.
fn consumer(fixture: &Fixture) -> Consumer {
    Consumer {
        kinds: Kinds::Only(vec![ENDED]),
        ..fixture.consumer()
    }
}

fn consume<H>(fixture: &Fixture, handler: H) -> Running
where
    H: for<'a> Fn(&'a mut PgConnection, &'a [&'a Received]) -> Handling<'a> + Send + Sync + 'static,
{
    let (pool, redis) = (fixture.pool.clone(), fixture.redis.clone());
    let consumer = consumer(fixture);
    Running::start(|shutdown| consumer.run_together(pool, redis, handler, shutdown))
}

/// Publishes a beginning and an end of so many aggregates before anybody reads them.
async fn publish(fixture: &Fixture, aggregates: &[Uuid]) {
    let relay = fixture.relay();
    for &id in aggregates {
        let events = [event_of(BEGAN, id, 1), event_of(ENDED, id, 2)];
        fixture.append(&events).await;
    }
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
    let consumer = consume(&fixture, move |connection, events| {
        noted.fetch_max(events.len(), Ordering::SeqCst);
        Box::pin(async move {
            for event in events {
                record(connection, event).await?;
            }
            Ok(())
        })
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
    let consumer = consume(&fixture, move |connection, events| {
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
