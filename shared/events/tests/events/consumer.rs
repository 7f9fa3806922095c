//! Consumers: every event once, every aggregate in order, none in another's way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bursar_contracts::identity::v1::UserRegistered;
use bursar_events::consumer::{Consumer, Kinds};
use bursar_events::relay::republish;
use bursar_events::{Event, HandlerError};
use bursar_status::correlation;
use redis::AsyncCommands;
use redis::streams::{StreamId, StreamPendingReply, StreamRangeReply};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fixture::{Fixture, GROUP, assert_in_order, event, event_of, eventually, record};

/// Every event takes effect once and in its aggregate's order.
#[tokio::test(flavor = "multi_thread")]
async fn events_take_effect_once_and_in_order() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let consumer = fixture.consume(fixture.consumer(), record);
    let ids: Vec<Uuid> = (0..10).map(|_| Uuid::now_v7()).collect();
    for version in 1..=30 {
        let events: Vec<_> = ids.iter().map(|&id| event(id, version)).collect();
        fixture.append(&events).await;
    }
    let effects = fixture.until_effects(300).await;
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    relay.stop().await;
    let last = ids.iter().map(|&id| (id, 30)).collect();
    assert_eq!(assert_in_order(&effects, &last), 0);
    assert_eq!(fixture.effects().await.len(), 300);
}

/// Events that come again, after a commit that Redis did not hear of, change
/// nothing, with and without the inbox's own rows.
#[tokio::test]
async fn a_second_delivery_has_no_effect() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1), event(id, 2)]).await;
    let consumer = fixture.consume(fixture.consumer(), record);
    fixture.until_effects(2).await;
    fixture.until_acknowledged(GROUP).await;

    let mut connection = fixture.pool.acquire().await.unwrap();
    for round in 0..2_u64 {
        let since = OffsetDateTime::now_utc() - Duration::from_secs(60);
        assert_eq!(republish(&mut connection, since).await.unwrap(), 2 + round);
        fixture.until_published().await;
        let next = event(id, 3 + i64::try_from(round).unwrap());
        fixture.append(&[next]).await;
        fixture
            .until_effects(3 + usize::try_from(round).unwrap())
            .await;
        let deleted = bursar_events::inbox::delete_old(
            &mut connection,
            OffsetDateTime::now_utc() + Duration::from_secs(60),
            100,
        )
        .await
        .unwrap();
        assert!(deleted > 0);
    }
    fixture.until_acknowledged(GROUP).await;
    assert_eq!(
        fixture.effects().await,
        [(id, 1), (id, 2), (id, 3), (id, 4)]
    );
    consumer.stop().await;
    relay.stop().await;
}

/// A handler that fails for a while is tried again, and the other aggregates do
/// not wait for it.
#[tokio::test]
async fn a_failing_event_is_tried_again() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let (failing, free) = (Uuid::now_v7(), Uuid::now_v7());
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let consumer = Consumer {
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(1),
        ..fixture.consumer()
    };
    let consumer = fixture.consume(consumer, move |connection, event| {
        let attempts = Arc::clone(&counted);
        Box::pin(async move {
            record(connection, event).await?;
            if event.aggregate_id == failing
                && event.version == 1
                && attempts.fetch_add(1, Ordering::SeqCst) < 2
            {
                return Err(HandlerError::retry("not yet"));
            }
            Ok(())
        })
    });
    fixture
        .append(&[event(failing, 1), event(failing, 2)])
        .await;
    fixture.append(&[event(free, 1), event(free, 2)]).await;
    let effects = fixture.until_effects(4).await;
    fixture.until_acknowledged(GROUP).await;
    assert_eq!(effects, [(free, 1), (free, 2), (failing, 1), (failing, 2)]);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    assert_eq!(fixture.stats().await.dead_letters, 0);
    consumer.stop().await;
    relay.stop().await;
}

/// An aggregate that fails for long, with more events behind it than a consumer
/// holds, does not stop the others, and all of it takes effect in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_behind_a_failure_blocks_nobody() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let (failing, free) = (Uuid::now_v7(), Uuid::now_v7());
    let cured = Arc::new(AtomicBool::new(false));
    let curing = Arc::clone(&cured);
    let consumer = Consumer {
        max_attempts: u32::MAX,
        ..fixture.consumer()
    };
    let consumer = fixture.consume(consumer, move |connection, event| {
        let sick = event.aggregate_id == failing && !curing.load(Ordering::SeqCst);
        Box::pin(async move {
            if sick {
                return Err(HandlerError::retry("not yet"));
            }
            record(connection, event).await
        })
    });
    let events: Vec<_> = (1..=1500).map(|version| event(failing, version)).collect();
    fixture.append(&events).await;
    fixture.append(&[event(free, 1)]).await;
    assert_eq!(fixture.until_effects(1).await, [(free, 1)]);
    cured.store(true, Ordering::SeqCst);
    let effects = fixture.until_effects(1501).await;
    fixture.until_acknowledged(GROUP).await;
    let last = HashMap::from([(failing, 1500), (free, 1)]);
    assert_eq!(assert_in_order(&effects, &last), 0);
    consumer.stop().await;
    relay.stop().await;
}

/// A handler that hangs is given up, one that panics is caught; neither holds
/// up the other aggregates.
#[tokio::test]
async fn hanging_and_panicking_handlers_are_contained() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let (hanging, panicking, free) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let consumer = Consumer {
        handler_timeout: Duration::from_millis(500),
        max_attempts: 2,
        ..fixture.consumer()
    };
    let consumer = fixture.consume(consumer, move |connection, event| {
        assert_ne!(event.aggregate_id, panicking, "the handler's own fault");
        Box::pin(async move {
            record(connection, event).await?;
            if event.aggregate_id == hanging {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    });
    fixture
        .append(&[event(hanging, 1), event(panicking, 1)])
        .await;
    let events: Vec<_> = (1..=20).map(|version| event(free, version)).collect();
    fixture.append(&events).await;
    fixture.until_effects(20).await;
    fixture.until_acknowledged(GROUP).await;
    let errors: HashMap<Uuid, String> =
        sqlx::query_as("SELECT aggregate_id, last_error FROM dead_letters WHERE attempts = 2")
            .fetch_all(&fixture.pool)
            .await
            .unwrap()
            .into_iter()
            .collect();
    assert_eq!(errors[&hanging], "the handler took longer than 500ms");
    assert_eq!(errors[&panicking], "the handler panicked");
    assert_in_order(&fixture.effects().await, &HashMap::from([(free, 20)]));
    consumer.stop().await;
    relay.stop().await;
}

/// First events that nobody handles cost the database nothing: they are acknowledged
/// while nobody can look at what was seen. What follows them is in order all the same.
#[tokio::test]
async fn beginnings_are_passed_over() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let consumer = Consumer {
        kinds: Kinds::Only(vec!["test.happened"]),
        ..fixture.consumer()
    };
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
    let mut locked = fixture.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE inbox_aggregates")
        .execute(&mut *locked)
        .await
        .unwrap();
    let consumer = fixture.consume(consumer, record);
    let beginnings: Vec<Event> = ids
        .iter()
        .map(|&id| event_of("test.ignored", id, 1))
        .collect();
    fixture.append(&beginnings).await;
    fixture.until_published().await;
    fixture.until_acknowledged(GROUP).await;
    locked.rollback().await.unwrap();
    let followers: Vec<Event> = ids.iter().map(|&id| event(id, 2)).collect();
    fixture.append(&followers).await;
    let mut effects = fixture.until_effects(20).await;
    effects.sort_unstable();
    let mut expected: Vec<(Uuid, i64)> = ids.iter().map(|&id| (id, 2)).collect();
    expected.sort_unstable();
    assert_eq!(effects, expected);
    consumer.stop().await;
    relay.stop().await;
}

/// Events of other kinds are acknowledged and counted for the order, and what
/// is handled is not held up by them.
#[tokio::test]
async fn other_kinds_are_skipped() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let consumer = Consumer {
        kinds: Kinds::Only(vec!["test.happened"]),
        ..fixture.consumer()
    };
    let (mixed, ignored) = (Uuid::now_v7(), Uuid::now_v7());
    let other = |id, version| event_of("test.ignored", id, version);
    let consumer = fixture.consume(consumer, record);
    let events: Vec<Event> = (1..=50).map(|version| other(ignored, version)).collect();
    fixture.append(&events).await;
    fixture.append(&[other(mixed, 1), event(mixed, 2)]).await;
    fixture.until_effects(1).await;
    // In batches of their own and together with others.
    for versions in [3..=3, 4..=6, 7..=7] {
        let events: Vec<Event> = versions.map(|version| other(mixed, version)).collect();
        fixture.append(&events).await;
        fixture.until_published().await;
        fixture.until_acknowledged(GROUP).await;
    }
    fixture
        .append(&[event(mixed, 8), other(mixed, 9), event(mixed, 10)])
        .await;
    let effects = fixture.until_effects(3).await;
    fixture.until_acknowledged(GROUP).await;
    assert_eq!(effects, [(mixed, 2), (mixed, 8), (mixed, 10)]);
    let seen: Vec<(Uuid, i64)> =
        sqlx::query_as("SELECT aggregate_id, version FROM inbox_aggregates")
            .fetch_all(&fixture.pool)
            .await
            .unwrap();
    assert_eq!(seen, [(mixed, 10)]);
    consumer.stop().await;
    relay.stop().await;
}

/// Adds an entry that is in the stream once more, at its end.
async fn add_again(fixture: &Fixture, entry: &StreamId) {
    let fields: Vec<(&String, Vec<u8>)> = entry
        .map
        .keys()
        .map(|name| (name, entry.get(name).unwrap()))
        .collect();
    let _: String = fixture
        .redis()
        .await
        .xadd(fixture.stream(), "*", &fields)
        .await
        .unwrap();
}

/// A version that is missing is waited for; a group that comes later starts
/// with what there is.
#[tokio::test]
async fn a_gap_is_waited_for() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    let events: Vec<_> = (1..=5).map(|version| event(id, version)).collect();
    fixture.append(&events).await;
    fixture.until_published().await;
    relay.stop().await;
    // The stream lost versions 1, 2 and 4.
    let mut redis = fixture.redis().await;
    let entries: StreamRangeReply = redis.xrange_all(fixture.stream()).await.unwrap();
    let entries = entries.ids;
    for lost in [0, 1, 3] {
        let _: usize = redis
            .xdel(fixture.stream(), &[&entries[lost].id])
            .await
            .unwrap();
    }
    let consumer = Consumer {
        max_attempts: 100,
        ..fixture.consumer()
    };
    let consumer = fixture.consume(consumer, record);
    fixture.until_effects(1).await;
    eventually("version 5 waits", || async {
        let mut redis = fixture.redis().await;
        let pending: StreamPendingReply = redis.xpending(fixture.stream(), GROUP).await.unwrap();
        (pending.count() == 1).then_some(())
    })
    .await;
    assert_eq!(fixture.effects().await, [(id, 3)]);
    add_again(&fixture, &entries[3]).await;
    let effects = fixture.until_effects(3).await;
    assert_eq!(effects, [(id, 3), (id, 4), (id, 5)]);
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
}

/// A handler sees the event as it was written, and works under the correlation
/// id of the request that caused it.
#[tokio::test]
async fn a_handler_knows_the_request() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    let written = event(id, 1);
    let expected = written.clone();
    let consumer = fixture.consume(fixture.consumer(), move |connection, event| {
        assert_eq!(correlation::current().as_str(), expected.correlation_id);
        assert_eq!(event.id, expected.id);
        assert_eq!(event.source, "bursar.test");
        assert_eq!(event.actor, "service:test");
        let data: UserRegistered = event.decode().unwrap();
        assert_eq!(data.user_id, format!("{id}/1"));
        let other = event.decode::<bursar_contracts::wallet::v1::WalletCreated>();
        assert!(matches!(other, Err(HandlerError::Poison(_))));
        record(connection, event)
    });
    fixture.append(&[written]).await;
    fixture.until_effects(1).await;
    consumer.stop().await;
    relay.stop().await;
}
