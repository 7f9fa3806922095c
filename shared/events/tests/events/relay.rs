//! The relay: nothing lost, every aggregate in order.

use std::collections::HashMap;
use std::time::Duration;

use bursar_events::relay::{Settings, republish};
use futures::future::join_all;
use redis::AsyncCommands;
use redis::streams::{StreamReadOptions, StreamReadReply};
use sqlx::Executor;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fixture::{Fixture, assert_in_order, event, eventually};
use crate::proxy::{Mode, Proxy};

/// Ids of one partition, so that they compete for the same page.
fn id_in_partition_0() -> Uuid {
    let mut bytes = *Uuid::now_v7().as_bytes();
    bytes[15] &= 0xf8;
    Uuid::from_bytes(bytes)
}

/// Many writers, some of which commit late, make the same stream as one would.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_are_published_in_order() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let ids: Vec<Uuid> = (0..8).map(|_| Uuid::now_v7()).collect();
    // Each writer has aggregates of its own, and keeps some transactions open
    // while the others draw higher numbers and commit.
    let writers = ids.iter().enumerate().map(|(writer, &id)| {
        let fixture = &fixture;
        async move {
            let mut version = 0;
            for round in 0..30_i64 {
                let count = 1 + (round % 3);
                let events: Vec<_> = (1..=count).map(|next| event(id, version + next)).collect();
                version += count;
                let mut transaction = fixture.pool.begin().await.unwrap();
                bursar_events::append(&mut transaction, &events)
                    .await
                    .unwrap();
                if (round + writer as i64) % 5 == 0 {
                    transaction.execute("SELECT pg_sleep(0.02)").await.unwrap();
                }
                transaction.commit().await.unwrap();
            }
            (id, version)
        }
    });
    let last: HashMap<Uuid, i64> = join_all(writers).await.into_iter().collect();
    fixture.until_published().await;
    relay.stop().await;
    let again = assert_in_order(&fixture.published().await, &last);
    assert_eq!(again, 0, "nothing failed, so nothing was published twice");
}

/// A transaction that draws its number first and commits last is not skipped.
#[tokio::test]
async fn a_late_commit_is_not_skipped() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let (late, early) = (id_in_partition_0(), id_in_partition_0());
    let mut transaction = fixture.pool.begin().await.unwrap();
    bursar_events::append(&mut transaction, &[event(late, 1)])
        .await
        .unwrap();
    fixture.append(&[event(early, 1)]).await;
    eventually("the other event is published", || async {
        (fixture.published().await == [(early, 1)]).then_some(())
    })
    .await;
    transaction.commit().await.unwrap();
    fixture.until_published().await;
    assert_eq!(fixture.published().await, [(early, 1), (late, 1)]);
    relay.stop().await;
}

/// Version 2 commits before version 1: it waits, while other aggregates go on.
#[tokio::test]
async fn a_version_waits_for_the_one_before_it() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let (id, other) = (id_in_partition_0(), id_in_partition_0());
    let mut transaction = fixture.pool.begin().await.unwrap();
    bursar_events::append(&mut transaction, &[event(id, 1)])
        .await
        .unwrap();
    fixture.append(&[event(id, 2), event(id, 3)]).await;
    fixture.append(&[event(other, 1)]).await;
    eventually("the other aggregate is published", || async {
        fixture
            .published()
            .await
            .contains(&(other, 1))
            .then_some(())
    })
    .await;
    assert_eq!(fixture.published().await, [(other, 1)]);
    transaction.commit().await.unwrap();
    fixture.until_published().await;
    assert_eq!(
        fixture.published().await,
        [(other, 1), (id, 1), (id, 2), (id, 3)]
    );
    relay.stop().await;
}

/// More held-back events than a page has do not hide the events behind them.
#[tokio::test]
async fn held_back_events_do_not_block_the_page() {
    let fixture = Fixture::new().await;
    let (stuck, free) = (id_in_partition_0(), id_in_partition_0());
    let events: Vec<_> = (2..=12).map(|version| event(stuck, version)).collect();
    fixture.append(&events).await;
    fixture.append(&[event(free, 1), event(free, 2)]).await;
    let relay = fixture.relay_with(
        fixture.redis.clone(),
        Settings {
            page_rows: 3,
            ..fixture.settings()
        },
    );
    eventually("the free aggregate is published", || async {
        (fixture.published().await == [(free, 1), (free, 2)]).then_some(())
    })
    .await;
    fixture.append(&[event(stuck, 1)]).await;
    fixture.until_published().await;
    let last = HashMap::from([(stuck, 12), (free, 2)]);
    assert_in_order(&fixture.published().await, &last);
    relay.stop().await;
}

/// A sleeping relay is woken by a writer, not by its clock.
#[tokio::test]
async fn a_writer_wakes_the_relay() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay_with(
        fixture.redis.clone(),
        Settings {
            lease: Duration::from_secs(3600),
            poll_interval: Duration::from_secs(3600),
            ..fixture.settings()
        },
    );
    for version in 1..=3 {
        eventually("the relay waits for the bell", || async {
            let armed: bool = sqlx::query_scalar("SELECT last_value = 1 FROM relay_doorbell")
                .fetch_one(&fixture.pool)
                .await
                .unwrap();
            armed.then_some(())
        })
        .await;
        fixture.append(&[event(Uuid::nil(), version)]).await;
        fixture.until_published().await;
    }
    relay.stop().await;
}

/// Two relays share the work, one dies in the middle of it, and nothing is lost
/// or out of order.
#[tokio::test(flavor = "multi_thread")]
async fn two_relays_keep_the_order() {
    let fixture = Fixture::new().await;
    let first = fixture.relay();
    let second = fixture.relay();
    let ids: Vec<Uuid> = (0..16).map(|_| Uuid::now_v7()).collect();
    let write = async |from: i64, to: i64| {
        for version in from..=to {
            let events: Vec<_> = ids.iter().map(|&id| event(id, version)).collect();
            fixture.append(&events).await;
        }
    };
    write(1, 40).await;
    first.kill().await;
    write(41, 80).await;
    let third = fixture.relay();
    second.kill().await;
    write(81, 120).await;
    fixture.until_published().await;
    third.stop().await;
    let last = ids.iter().map(|&id| (id, 120)).collect();
    assert_in_order(&fixture.published().await, &last);
}

/// Of two relays at work one publishes a partition, so while both live nothing is
/// published twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_published_by_one_relay() {
    let fixture = Fixture::new().await;
    let long = Settings {
        lease: Duration::from_secs(3600),
        ..fixture.settings()
    };
    let relays = [(); 2].map(|()| fixture.relay_with(fixture.redis.clone(), long.clone()));
    let ids: Vec<Uuid> = (0..16).map(|_| Uuid::now_v7()).collect();
    for version in 1..=60 {
        let events: Vec<_> = ids.iter().map(|&id| event(id, version)).collect();
        fixture.append(&events).await;
    }
    fixture.until_published().await;
    let last = ids.iter().map(|&id| (id, 60)).collect();
    let again = assert_in_order(&fixture.published().await, &last);
    for relay in relays {
        relay.stop().await;
    }
    assert_eq!(again, 0, "{again} events were published twice");
}

/// Versions whose sequence numbers are in reverse, because the later one drew its
/// number first, are published in their own order.
#[tokio::test]
async fn versions_are_published_against_their_numbers() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    for version in (1..=5).rev() {
        fixture.append(&[event(id, version)]).await;
    }
    let relay = fixture.relay();
    fixture.until_published().await;
    relay.stop().await;
    let again = assert_in_order(&fixture.published().await, &HashMap::from([(id, 5)]));
    assert_eq!(again, 0, "nothing failed, so nothing was published twice");
}

/// A relay stalls with events in its hands, another takes over, and then the
/// first one's events arrive. It can only repeat what it had: the first
/// appearances stay in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_relay_does_no_harm() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::start(fixture.redis_address()).await;
    let id = Uuid::now_v7();
    let settings = Settings {
        housekeeping_interval: Duration::from_secs(3600),
        ..fixture.settings()
    };
    let stalled = fixture.relay_with(proxy.client(), settings);
    fixture.append(&[event(id, 1)]).await;
    fixture.until_published().await;

    proxy.set(Mode::Stalled);
    fixture.append(&[event(id, 2), event(id, 3)]).await;
    eventually("the events are on their way", || async {
        (proxy.stalled_bytes() > 0).then_some(())
    })
    .await;
    let successor = fixture.relay();
    fixture.until_published().await;
    fixture.append(&[event(id, 4)]).await;
    fixture.until_published().await;

    proxy.set(Mode::Open);
    eventually("the late events arrive", || async {
        (fixture.published().await.len() >= 6).then_some(())
    })
    .await;
    fixture.append(&[event(id, 5)]).await;
    fixture.until_published().await;
    successor.stop().await;
    stalled.stop().await;
    let again = assert_in_order(&fixture.published().await, &HashMap::from([(id, 5)]));
    assert_eq!(again, 2);
}

/// A relay that stops gives its partitions back at once.
#[tokio::test]
async fn a_stopped_relay_leaves_its_partitions() {
    let fixture = Fixture::new().await;
    let settings = Settings {
        lease: Duration::from_secs(3600),
        ..fixture.settings()
    };
    let id = Uuid::now_v7();
    for version in 1..=2 {
        let relay = fixture.relay_with(fixture.redis.clone(), settings.clone());
        fixture.append(&[event(id, version)]).await;
        fixture.until_published().await;
        relay.stop().await;
    }
    assert_eq!(fixture.published().await, [(id, 1), (id, 2)]);
}

/// What a relay published under a lease that is no longer its own stays in the
/// outbox: the delete is fenced.
#[tokio::test]
async fn a_lost_lease_deletes_nothing() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay_with(
        fixture.redis.clone(),
        Settings {
            lease: Duration::from_secs(3600),
            ..fixture.settings()
        },
    );
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1)]).await;
    fixture.until_published().await;
    // Someone else takes every partition; the relay does not know yet.
    fixture
        .owner
        .execute(
            "UPDATE relay_leases SET holder = gen_random_uuid(), epoch = epoch + 1, \
             expires_at = clock_timestamp() + interval '1 hour'",
        )
        .await
        .unwrap();
    fixture.append(&[event(id, 2)]).await;
    eventually("the old holder published", || async {
        fixture.published().await.contains(&(id, 2)).then_some(())
    })
    .await;
    relay.stop().await;
    assert_eq!(fixture.stats().await.unpublished_events, 1);
}

/// Entries that a group has not acknowledged are never trimmed; the others are,
/// down to what is to be kept.
#[tokio::test]
async fn trimming_spares_what_is_not_acknowledged() {
    let fixture = Fixture::new().await;
    let mut redis = fixture.redis().await;
    let stream = fixture.stream();
    let _: () = redis
        .xgroup_create_mkstream(&stream, "slow", "0")
        .await
        .unwrap();
    let _: () = redis
        .xgroup_create_mkstream(&stream, "fast", "0")
        .await
        .unwrap();
    let settings = Settings {
        keep_entries: 50,
        ..fixture.settings()
    };
    let relay = fixture.relay_with(fixture.redis.clone(), settings);
    let id = Uuid::now_v7();
    let events: Vec<_> = (1..=1000).map(|version| event(id, version)).collect();
    fixture.append(&events).await;
    fixture.until_published().await;

    let read = async |group: &str, count: usize| -> Vec<String> {
        let options = StreamReadOptions::default()
            .group(group, "test")
            .count(count);
        let mut redis = fixture.redis().await;
        let reply: StreamReadReply = redis
            .xread_options(&[&stream], &[">"], &options)
            .await
            .unwrap();
        reply
            .keys
            .into_iter()
            .flat_map(|key| key.ids)
            .map(|entry| entry.id)
            .collect()
    };
    let fast = read("fast", 1000).await;
    let _: usize = redis.xack(&stream, "fast", &fast).await.unwrap();
    // The slow group has read 600 and acknowledged all but the 400th.
    let slow = read("slow", 600).await;
    let acknowledged: Vec<&String> = slow.iter().filter(|&id| *id != slow[399]).collect();
    let _: usize = redis.xack(&stream, "slow", &acknowledged).await.unwrap();

    eventually("acknowledged entries are trimmed", || async {
        (fixture.published().await.len() <= 700).then_some(())
    })
    .await;
    let left = fixture.published().await;
    assert!(
        left.len() >= 601,
        "the 400th is pending, but {} are left",
        left.len()
    );

    let rest = read("slow", 1000).await;
    let _: usize = redis.xack(&stream, "slow", &rest).await.unwrap();
    let _: usize = redis.xack(&stream, "slow", &[&slow[399]]).await.unwrap();
    eventually("the rest is trimmed", || async {
        (fixture.published().await.len() <= 200).then_some(())
    })
    .await;
    assert!(fixture.published().await.len() >= 50);
    relay.stop().await;
}

/// An operator can have events published again.
#[tokio::test]
async fn republish_publishes_again() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1), event(id, 2)]).await;
    fixture.until_published().await;
    let mut connection = fixture.pool.acquire().await.unwrap();
    let since = OffsetDateTime::now_utc() - Duration::from_secs(60);
    assert_eq!(republish(&mut connection, since).await.unwrap(), 2);
    fixture.until_published().await;
    assert_eq!(
        fixture.published().await,
        [(id, 1), (id, 2), (id, 1), (id, 2)]
    );
    relay.stop().await;
}
