//! Instances that come and go: one reads at a time, and nothing is lost or done
//! twice when it changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bursar_events::consumer::Consumer;
use bursar_events::relay::Settings;
use redis::AsyncCommands;
use redis::streams::{StreamPendingReply, StreamReadOptions, StreamReadReply};
use sqlx::Executor;
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::fixture::{Fixture, GROUP, assert_in_order, event, eventually, record};
use crate::proxy::{Mode, Proxy};

/// A relay that dies after it published and before it deleted publishes again;
/// the consumer does not handle again.
#[tokio::test]
async fn a_crash_of_the_relay_makes_no_second_effect() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    // The relay may not delete: it stays between publishing and deleting.
    let revoke = "REVOKE DELETE ON outbox FROM bursar_events_test";
    fixture.owner.execute(revoke).await.unwrap();
    let relay = fixture.relay();
    fixture.append(&[event(id, 1), event(id, 2)]).await;
    eventually("the events are published", || async {
        (fixture.published().await.len() >= 2).then_some(())
    })
    .await;
    relay.kill().await;
    let grant = "GRANT DELETE ON outbox TO bursar_events_test";
    fixture.owner.execute(grant).await.unwrap();

    let relay = fixture.relay();
    let consumer = fixture.consume(fixture.consumer(), record);
    fixture.append(&[event(id, 3)]).await;
    fixture.until_published().await;
    fixture.until_effects(3).await;
    fixture.until_acknowledged(GROUP).await;
    let again = assert_in_order(&fixture.published().await, &HashMap::from([(id, 3)]));
    assert!(again >= 2, "published again: {again}");
    assert_eq!(fixture.effects().await, [(id, 1), (id, 2), (id, 3)]);
    consumer.stop().await;
    relay.stop().await;
}

/// An instance dies with events in its hands; another takes over when the
/// lease is over and goes on where it stood.
#[tokio::test(flavor = "multi_thread")]
async fn another_instance_takes_over() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let reached = Arc::new(Notify::new());
    let reaching = Arc::clone(&reached);
    let first = fixture.consume(fixture.consumer(), move |connection, event| {
        let reaching = Arc::clone(&reaching);
        Box::pin(async move {
            record(connection, event).await?;
            if event.version == 5 {
                // Written and not committed: here it dies.
                reaching.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    });
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    for version in 1..=10 {
        let events: Vec<_> = ids.iter().map(|&id| event(id, version)).collect();
        fixture.append(&events).await;
    }
    reached.notified().await;
    let second = fixture.consume(fixture.consumer(), record);
    first.kill().await;
    let effects = fixture.until_effects(30).await;
    fixture.until_acknowledged(GROUP).await;
    second.stop().await;
    relay.stop().await;
    let last = ids.iter().map(|&id| (id, 10)).collect();
    assert_eq!(assert_in_order(&effects, &last), 0);
}

/// An instance that lost its lease had an entry delivered and never handled it.
/// The holder finds it, before it takes the later events for lost.
#[tokio::test]
async fn entries_of_a_stalled_instance_are_found() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::start(fixture.redis_address()).await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    let patient = Consumer {
        max_attempts: 1000,
        ..fixture.consumer()
    };
    let consumer = fixture.consume_over(proxy.client(), patient, record);
    fixture.append(&[event(id, 1)]).await;
    fixture.until_effects(1).await;
    fixture.until_acknowledged(GROUP).await;
    // The read that waits at the server ends, with version 2 or with nothing,
    // and its answer is held up. What is left can be taken under the same name.
    proxy.set(Mode::Stalled);
    fixture.append(&[event(id, 2)]).await;
    eventually("the consumer waits for an answer", || async {
        (proxy.stalled_bytes() > 0).then_some(())
    })
    .await;
    fixture.append(&[event(id, 3)]).await;
    fixture.until_published().await;
    let options = StreamReadOptions::default().group(GROUP, "owner");
    let mut redis = fixture.redis().await;
    let taken: StreamReadReply = redis
        .xread_options(&[fixture.stream()], &[">"], &options)
        .await
        .unwrap();
    assert!(!taken.keys[0].ids.is_empty());
    proxy.set(Mode::Open);
    fixture.append(&[event(id, 4)]).await;
    let effects = fixture.until_effects(4).await;
    assert_eq!(effects, [(id, 1), (id, 2), (id, 3), (id, 4)]);
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    relay.stop().await;
}

/// Two instances at once: one consumes, the other waits until it is stopped.
#[tokio::test]
async fn one_instance_at_a_time() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let settings = Consumer {
        lease: Duration::from_secs(1),
        ..fixture.consumer()
    };
    let (one, two) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let start = |count: &Arc<AtomicU32>| {
        let count = Arc::clone(count);
        fixture.consume(settings.clone(), move |connection, event| {
            count.fetch_add(1, Ordering::SeqCst);
            record(connection, event)
        })
    };
    let expiry = async || -> OffsetDateTime {
        sqlx::query_scalar("SELECT expires_at FROM consumer_leases")
            .fetch_one(&fixture.pool)
            .await
            .unwrap()
    };
    let id = Uuid::now_v7();
    let first = start(&one);
    fixture.append(&[event(id, 1)]).await;
    fixture.until_effects(1).await;
    let second = start(&two);
    let taken_until = expiry().await;
    eventually("the lease outlives its length", || async {
        (expiry().await > taken_until + settings.lease * 2).then_some(())
    })
    .await;
    fixture.append(&[event(id, 2)]).await;
    fixture.until_effects(2).await;
    assert_eq!(two.load(Ordering::SeqCst), 0);
    first.stop().await;
    fixture.append(&[event(id, 3)]).await;
    fixture.until_effects(3).await;
    second.stop().await;
    relay.stop().await;
    assert_eq!(one.load(Ordering::SeqCst), 2);
    assert_eq!(two.load(Ordering::SeqCst), 1);
}

/// An instance whose lease another one has taken handles nothing, even what it
/// has been given already; whoever holds the lease then does.
#[tokio::test]
async fn without_the_lease_nothing_is_handled() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let stolen = "SELECT count(*) FROM consumer_leases \
                  WHERE epoch = 100 AND expires_at > clock_timestamp()";
    let trespasses = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&trespasses);
    let consumer = fixture.consume(fixture.consumer(), move |connection, event| {
        let trespasses = Arc::clone(&counted);
        Box::pin(async move {
            let stolen: i64 = sqlx::query_scalar(stolen)
                .fetch_one(&mut *connection)
                .await?;
            trespasses.fetch_add(u32::try_from(stolen).unwrap(), Ordering::SeqCst);
            record(connection, event).await
        })
    });
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1)]).await;
    fixture.until_effects(1).await;
    fixture.until_acknowledged(GROUP).await;
    let steal = "UPDATE consumer_leases SET holder = gen_random_uuid(), epoch = 100, \
                 expires_at = clock_timestamp() + interval '1 hour'";
    fixture.owner.execute(steal).await.unwrap();
    fixture.append(&[event(id, 2)]).await;
    eventually("version 2 is delivered", || async {
        let mut redis = fixture.redis().await;
        let pending: StreamPendingReply = redis.xpending(fixture.stream(), GROUP).await.unwrap();
        (pending.count() == 1).then_some(())
    })
    .await;
    let give_back = "UPDATE consumer_leases SET expires_at = '-infinity'";
    fixture.owner.execute(give_back).await.unwrap();
    fixture.until_effects(2).await;
    consumer.stop().await;
    relay.stop().await;
    assert_eq!(trespasses.load(Ordering::SeqCst), 0);
    assert_eq!(fixture.effects().await, [(id, 1), (id, 2)]);
}

/// A stop lets the event that is being handled finish, and another instance
/// goes on at once although the lease is long.
#[tokio::test]
async fn a_stop_finishes_what_is_under_way() {
    let fixture = Fixture::new().await;
    let long = Settings {
        lease: Duration::from_secs(3600),
        ..fixture.settings()
    };
    let relay = fixture.relay_with(fixture.redis.clone(), long);
    let settings = Consumer {
        lease: Duration::from_secs(3600),
        ..fixture.consumer()
    };
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entering, leaving) = (Arc::clone(&entered), Arc::clone(&leave));
    let first = fixture.consume(settings.clone(), move |connection, event| {
        let (entering, leaving) = (Arc::clone(&entering), Arc::clone(&leaving));
        Box::pin(async move {
            entering.notify_one();
            leaving.notified().await;
            record(connection, event).await
        })
    });
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1), event(id, 2)]).await;
    entered.notified().await;
    let stopping = tokio::spawn(first.stop());
    leave.notify_one();
    stopping.await.unwrap();
    assert_eq!(fixture.effects().await, [(id, 1)]);
    let second = fixture.consume(settings, record);
    assert_eq!(fixture.until_effects(2).await, [(id, 1), (id, 2)]);
    second.stop().await;
    relay.stop().await;
}
