//! Both levels while all is well.

use std::time::Duration;

use bursar_cache::{Cache, Item, Written};

use crate::server::{Bytes, Server, cache, key, without_memory};

fn item(name: &str, version: u64) -> Item<Bytes> {
    Item {
        key: name.to_owned(),
        version,
        value: version.to_be_bytes().to_vec(),
    }
}

async fn version(cache: &Cache<Bytes>, name: &str) -> Option<u64> {
    cache.get(name).await.map(|cached| cached.version)
}

/// Versions beyond 2^53, where floats lose bits, and at every byte's border are
/// still told apart by the script.
#[tokio::test]
async fn versions_are_compared_exactly() {
    let server = Server::start(&[]).await;
    let versions = [
        0,
        1,
        127,
        128,
        255,
        256,
        65_535,
        0xffff_ffff,
        0x1_0000_0000,
        (1 << 53) + 1,
        (1 << 53) + 2,
        u64::MAX - 1,
        u64::MAX,
    ];
    for pair in versions.windows(2) {
        let writer = cache(&server.url(), without_memory()).await;
        let stranger = cache(&server.url(), without_memory()).await;
        server.command::<String>("FLUSHALL").await;
        writer.set("a", pair[1], Bytes::new()).await;
        let refused = stranger.set("a", pair[0], Bytes::new()).await;
        assert_eq!((refused.older, refused.stored), (1, 0), "{pair:?}");
        let reader = cache(&server.url(), without_memory()).await;
        assert_eq!(version(&reader, "a").await, Some(pair[1]));
    }
}

/// An update touches only what somebody reads, and lets it expire all the same.
#[tokio::test]
async fn updates_touch_only_what_is_there() {
    let server = Server::start(&[]).await;
    let writer = cache(&server.url(), without_memory()).await;
    let reader = cache(&server.url(), without_memory()).await;
    reader.set("read", 1, Bytes::new()).await;
    server
        .command::<i64>(&format!("PEXPIRE {} 30000", key("read")))
        .await;
    let written = writer
        .update_many([item("read", 2), item("unread", 2)])
        .await;
    let expected = Written {
        stored: 1,
        absent: 1,
        ..Written::default()
    };
    assert_eq!(written, expected);
    assert_eq!(version(&reader, "read").await, Some(2));
    assert_eq!(version(&reader, "unread").await, None);
    let left: i64 = server.command(&format!("PTTL {}", key("read"))).await;
    assert!((1..=30_000).contains(&left), "{left}");
    assert_eq!(writer.update_many([item("read", 1)]).await.older, 1);
}

/// What is in memory is updated also when Redis has lost it.
#[tokio::test]
async fn updates_reach_memory() {
    let server = Server::start(&[]).await;
    let mut settings = without_memory();
    settings.memory_time_to_live = Duration::from_secs(60);
    let cache = cache(&server.url(), settings).await;
    cache.set("a", 1, Bytes::new()).await;
    server.command::<String>("FLUSHALL").await;
    assert_eq!(cache.update_many([item("a", 2)]).await.stored, 1);
    assert_eq!(version(&cache, "a").await, Some(2));
    assert_eq!(
        server.command::<i64>(&format!("EXISTS {}", key("a"))).await,
        1
    );
    assert_eq!(cache.statistics().memory_hits, 1);
}

/// Reads in bulk keep the keys' order, and a minimum version is respected.
#[tokio::test]
async fn reads_are_in_order_and_new_enough() {
    let server = Server::start(&[]).await;
    let mut settings = without_memory();
    settings.memory_time_to_live = Duration::from_secs(60);
    let writer = cache(&server.url(), without_memory()).await;
    let reader = cache(&server.url(), settings).await;
    writer
        .set_many((0..1200).map(|n| item(&n.to_string(), n)))
        .await;
    assert!(reader.get("7").await.is_some());
    let names: Vec<String> = (0..1300).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let versions: Vec<_> = reader
        .get_many(&keys)
        .await
        .into_iter()
        .map(|cached| cached.map(|cached| cached.version))
        .collect();
    let expected: Vec<_> = (0..1300).map(|n| (n < 1200).then_some(n)).collect();
    assert_eq!(versions, expected);
    writer.set("7", 8, Bytes::new()).await;
    assert_eq!(
        version(&reader, "7").await,
        Some(7),
        "memory is still fresh"
    );
    let seen = reader.get_at_least("7", 8).await.expect("in Redis");
    assert_eq!(seen.version, 8);
    assert_eq!(version(&reader, "7").await, Some(8));
    assert!(reader.get_at_least("7", 9).await.is_none());
}

/// Removal takes the matching keys of this cache, and nobody else's.
#[tokio::test]
async fn removal_takes_what_matches() {
    let server = Server::start(&[]).await;
    let cache = cache(&server.url(), without_memory()).await;
    let batch = (0..3000).map(|n| item(&format!("a:{n}"), 1));
    let warmed = cache.warm_up(futures::stream::iter(batch)).await;
    assert_eq!(warmed.stored, 3000);
    cache.set("b:1", 1, Bytes::new()).await;
    server.command::<String>("SET elsewhere:a:1 x").await;
    assert_eq!(cache.remove_matching("a:*").await, Some(3000));
    assert!(cache.get("a:7").await.is_none());
    assert!(cache.get("b:1").await.is_some());
    assert_eq!(server.command::<i64>("DBSIZE").await, 2);
    cache.remove("b:1").await;
    assert!(cache.get("b:1").await.is_none());
    assert_eq!(cache.set("b:1", 1, Bytes::new()).await.stored, 1);
}
