//! Outages of Redis: away, back, and back with less than before.

use std::collections::HashMap;

use redis::AsyncCommands;
use uuid::Uuid;

use crate::fixture::{Fixture, GROUP, assert_in_order, event, eventually, record};
use crate::proxy::{Mode, Proxy};

/// While Redis cannot be reached events wait; when it is back they flow, in
/// order and once.
#[tokio::test(flavor = "multi_thread")]
async fn redis_away_and_back() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::start(fixture.redis_address()).await;
    let relay = fixture.relay_with(proxy.client(), fixture.settings());
    let consumer = fixture.consume_over(proxy.client(), fixture.consumer(), record);
    let ids: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    let write = async |from: i64, to: i64| {
        for version in from..=to {
            let events: Vec<_> = ids.iter().map(|&id| event(id, version)).collect();
            fixture.append(&events).await;
        }
    };
    write(1, 10).await;
    fixture.until_effects(4).await;
    for round in 1..=2 {
        proxy.set(Mode::Cut);
        write(10 * round + 1, 10 * round + 10).await;
        eventually("events wait", || async {
            let stats = fixture.stats().await;
            (stats.unpublished_events >= 40 && stats.oldest_unpublished_age_ms >= 200).then_some(())
        })
        .await;
        proxy.set(Mode::Open);
        fixture
            .until_effects(usize::try_from(40 * (round + 1)).unwrap())
            .await;
    }
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    relay.stop().await;
    let last = ids.iter().map(|&id| (id, 30)).collect();
    assert_eq!(assert_in_order(&fixture.effects().await, &last), 0);
}

/// Redis loses the whole stream with events that nobody had read: they are
/// published again, and the group is made again.
#[tokio::test]
async fn redis_loses_everything() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    let consumer = fixture.consume(fixture.consumer(), record);
    fixture.append(&[event(id, 1), event(id, 2)]).await;
    fixture.until_effects(2).await;
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;

    let unread = Uuid::now_v7();
    fixture.append(&[event(id, 3), event(unread, 1)]).await;
    fixture.until_published().await;
    let _: usize = fixture.redis().await.del(fixture.stream()).await.unwrap();
    let consumer = fixture.consume(fixture.consumer(), record);
    let effects = fixture.until_effects(4).await;
    assert_in_order(&effects, &HashMap::from([(id, 3), (unread, 1)]));

    // Lost under a consumer that waits for new entries.
    let _: usize = fixture.redis().await.del(fixture.stream()).await.unwrap();
    fixture.append(&[event(id, 4)]).await;
    fixture.until_effects(5).await;
    fixture.until_published().await;
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    relay.stop().await;
    let last = HashMap::from([(id, 4), (unread, 1)]);
    assert_eq!(assert_in_order(&fixture.effects().await, &last), 0);
}

/// Redis comes back without the end of the stream, as after a crash: what was
/// lost is published again.
#[tokio::test]
async fn redis_loses_the_end() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::start(fixture.redis_address()).await;
    let relay = fixture.relay_with(proxy.client(), fixture.settings());
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1), event(id, 2)]).await;
    fixture.until_published().await;
    let mut redis = fixture.redis().await;
    let _: () = redis
        .xgroup_create(fixture.stream(), GROUP, "0")
        .await
        .unwrap();
    let dump: Vec<u8> = redis::cmd("DUMP")
        .arg(fixture.stream())
        .query_async(&mut redis)
        .await
        .unwrap();
    fixture.append(&[event(id, 3), event(id, 4)]).await;
    fixture.until_published().await;

    proxy.set(Mode::Cut);
    let _: () = redis::cmd("RESTORE")
        .arg(fixture.stream())
        .arg(0)
        .arg(dump)
        .arg("REPLACE")
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(fixture.published().await, [(id, 1), (id, 2)]);
    fixture.append(&[event(id, 5)]).await;
    proxy.set(Mode::Open);
    let consumer = fixture.consume(fixture.consumer(), record);
    let effects = fixture.until_effects(5).await;
    assert_eq!(assert_in_order(&effects, &HashMap::from([(id, 5)])), 0);
    consumer.stop().await;
    relay.stop().await;
}
