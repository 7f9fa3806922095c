//! Servers that are killed, flushed, frozen and full.

use std::time::{Duration, Instant};

use bursar_cache::Item;
use nix::sys::signal::Signal;

use crate::server::{Bytes, Server, cache, eventually, restore, without_memory};

/// While the server is dead reads miss at once and writes are dropped; once it is
/// back the cache works without being told.
#[tokio::test]
async fn a_killed_server_is_missed_and_found_again() {
    let mut server = Server::start(&[]).await;
    let cache = cache(&server.url(), without_memory()).await;
    cache.set("a", 1, Bytes::new()).await;
    assert!(cache.get("a").await.is_some());
    server.kill();
    let begun = Instant::now();
    for version in 2..200 {
        assert!(cache.get("a").await.is_none());
        assert_eq!(cache.set("a", version, Bytes::new()).await.dropped, 1);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(cache.statistics().short_circuited > 0);
    server.restart().await;
    eventually("writes are taken again", async || {
        cache.set("a", 500, Bytes::new()).await.stored == 1
    })
    .await;
    assert_eq!(cache.get("a").await.expect("in Redis").version, 500);
}

/// A write that was lost while Redis was away does not let the older value,
/// which Redis still has, be shown again by the instance that wrote.
#[tokio::test]
async fn a_lost_write_does_not_bring_the_old_value_back() {
    let server = Server::start(&[]).await;
    let mut settings = without_memory();
    settings.breaker_failures = 1;
    settings.breaker_pause = Duration::from_millis(300);
    let cache = cache(&server.url(), settings).await;
    for name in ["set", "updated"] {
        cache.set(name, 1, Bytes::new()).await;
    }
    server.signal(Signal::SIGSTOP);
    assert_eq!(cache.set("set", 2, Bytes::new()).await.dropped, 1);
    let update = Item {
        key: "updated".to_owned(),
        version: 2,
        value: Bytes::new(),
    };
    assert_eq!(cache.update_many([update]).await.dropped, 1);
    server.signal(Signal::SIGCONT);
    eventually("Redis is asked again", async || {
        cache.set("other", 1, Bytes::new()).await.dropped == 0
    })
    .await;
    for name in ["set", "updated"] {
        // Thawed, the server may have run what it had been sent; not so here.
        restore(&server, name, 1, &[]).await;
        let shown = cache.get(name).await.map(|cached| cached.version);
        assert_ne!(shown, Some(1), "{name}");
    }
}

/// A Redis that went back to an older value, as a failover that loses writes does, does
/// not take an instance back: what it has shown it does not show older.
#[tokio::test]
async fn an_older_value_in_redis_is_not_shown() {
    let server = Server::start(&[]).await;
    let cache = cache(&server.url(), without_memory()).await;
    cache.set("a", 2, Bytes::new()).await;
    restore(&server, "a", 1, &[]).await;
    let shown = cache.get("a").await.map(|cached| cached.version);
    assert_ne!(shown, Some(1));
    let many = cache.get_many(&["a"]).await;
    let shown = many[0].as_ref().map(|cached| cached.version);
    assert_ne!(shown, Some(1));
}

/// A flush in the middle costs misses, and what is written after it is there.
#[tokio::test]
async fn a_flush_costs_only_misses() {
    let server = Server::start(&[]).await;
    let cache = cache(&server.url(), without_memory()).await;
    for version in 1..=50 {
        cache.set("a", version, Bytes::new()).await;
        if version == 25 {
            // The scripts, too: the next write loads its script again.
            server.command::<String>("FLUSHALL").await;
            server.command::<String>("SCRIPT FLUSH").await;
            assert!(cache.get("a").await.is_none());
        }
    }
    assert_eq!(cache.get("a").await.expect("in Redis").version, 50);
    assert_eq!(cache.statistics().dropped, 0);
}

/// A frozen server costs each caller at most the response time, and after a few
/// of them nothing; thawed, it serves again.
#[tokio::test]
async fn a_frozen_server_does_not_hold_callers() {
    let server = Server::start(&[]).await;
    let mut settings = without_memory();
    settings.breaker_pause = Duration::from_secs(1);
    let cache = cache(&server.url(), settings).await;
    cache.set("a", 1, Bytes::new()).await;
    server.signal(Signal::SIGSTOP);
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..2000 {
        let call = Instant::now();
        assert!(cache.get("a").await.is_none());
        slowest = slowest.max(call.elapsed());
    }
    let total = begun.elapsed();
    server.signal(Signal::SIGCONT);
    assert!(slowest < Duration::from_millis(700), "{slowest:?}");
    assert!(total < Duration::from_secs(5), "{total:?}");
    eventually("reads hit again", async || cache.get("a").await.is_some()).await;
}

/// A full server that evicts loses values and nothing else: what is read is what
/// was written.
#[tokio::test]
async fn an_evicting_server_costs_only_misses() {
    let server = Server::start(&["--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let cache = cache(&server.url(), without_memory()).await;
    for batch in 0..40_u64 {
        let items = (0..200).map(|n| Item {
            key: format!("{batch}:{n}"),
            version: batch + 1,
            value: vec![u8::try_from(batch).expect("small"); 2000],
        });
        assert_eq!(cache.set_many(items).await.stored, 200);
    }
    let info: String = server.command("INFO stats").await;
    assert!(!info.contains("evicted_keys:0\r"), "nothing was evicted");
    let (mut hits, mut misses) = (0, 0);
    for batch in 0..40_u64 {
        for n in 0..200 {
            match cache.get(&format!("{batch}:{n}")).await {
                Some(cached) => {
                    assert_eq!(cached.version, batch + 1);
                    assert!(cached.value.iter().all(|&byte| u64::from(byte) == batch));
                    hits += 1;
                }
                None => misses += 1,
            }
        }
    }
    assert!(hits > 0 && misses > 0, "{hits} hits, {misses} misses");
}
