//! Loads beside each other and beside writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bursar_cache::{Item, LoadError};
use tokio::sync::oneshot;

use crate::server::{Bytes, Server, cache, eventually, without_memory};

type Loaded = Result<Option<(u64, Bytes)>, String>;

/// A hundred concurrent misses ask the source once.
#[tokio::test]
async fn concurrent_misses_load_once() {
    let server = Server::start(&[]).await;
    let mut settings = without_memory();
    settings.memory_time_to_live = Duration::from_secs(60);
    let cache = Arc::new(cache(&server.url(), settings).await);
    let loads = AtomicU32::new(0);
    let calls = (0..100).map(|_| {
        cache.load("a", async || -> Loaded {
            loads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Some((3, b"x".to_vec())))
        })
    });
    for found in futures::future::join_all(calls).await {
        assert_eq!(found.expect("loads").expect("is there").version, 3);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert_eq!(cache.statistics().coalesced, 99);
}

/// A commit while another instance's loader reads the source is not hidden by
/// what that loader read, although nobody had the key before.
#[tokio::test]
async fn a_slow_load_does_not_hide_a_commit() {
    let server = Server::start(&[]).await;
    for is_same_instance in [true, false] {
        server.command::<String>("FLUSHALL").await;
        let reader = Arc::new(cache(&server.url(), without_memory()).await);
        let writer = if is_same_instance {
            Arc::clone(&reader)
        } else {
            Arc::new(cache(&server.url(), without_memory()).await)
        };
        let (reading, is_reading) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let load = tokio::spawn({
            let reader = Arc::clone(&reader);
            async move {
                let loader = async || -> Loaded {
                    reading.send(()).expect("the test listens");
                    may_go_on.await.expect("the test goes on");
                    Ok(Some((5, Bytes::new())))
                };
                reader.load("a", loader).await.expect("loads")
            }
        });
        is_reading.await.expect("the loader begins");
        let commit = Item {
            key: "a".to_owned(),
            version: 6,
            value: Bytes::new(),
        };
        assert_eq!(writer.update_many([commit]).await.stored, 1);
        go_on.send(()).expect("the loader waits");
        load.await.expect("no panic");
        let shown = reader.get("a").await.expect("in Redis");
        assert_eq!(shown.version, 6, "same instance: {is_same_instance}");
    }
}

/// A failing loader fails everybody who waited, and the next caller loads anew.
#[tokio::test]
async fn a_failed_load_is_told_and_forgotten() {
    let server = Server::start(&[]).await;
    let cache = cache(&server.url(), without_memory()).await;
    let fails = || async {
        tokio::task::yield_now().await;
        Loaded::Err("no database".to_owned())
    };
    let (first, second) = tokio::join!(
        cache.load("a", async || fails().await),
        cache.load("a", async || fails().await)
    );
    assert!(matches!(first, Err(LoadError::Loader(_))));
    assert!(matches!(second, Err(LoadError::Joined(reason)) if reason == "no database"));
    let found = cache
        .load("a", async || Loaded::Ok(Some((1, Bytes::new()))))
        .await;
    assert_eq!(found.expect("loads").expect("is there").version, 1);
    let none = cache.load("b", async || Loaded::Ok(None)).await;
    assert!(none.expect("loads").is_none());
}

/// A caller that is cancelled while it loads leaves the load to one who waits.
#[tokio::test]
async fn a_cancelled_load_is_taken_over() {
    let server = Server::start(&[]).await;
    let cache = Arc::new(cache(&server.url(), without_memory()).await);
    let never = {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move {
            cache
                .load("a", async || std::future::pending::<Loaded>().await)
                .await
        })
    };
    eventually("the load is under way", async || {
        cache.statistics().misses == 1
    })
    .await;
    let waits = {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move {
            cache
                .load("a", async || Loaded::Ok(Some((2, Bytes::new()))))
                .await
        })
    };
    eventually("another waits", async || cache.statistics().coalesced == 1).await;
    never.abort();
    let found = waits.await.expect("no panic").expect("loads");
    assert_eq!(found.expect("is there").version, 2);
}

/// A caller that has seen its own write gets it, though an older value is cached.
#[tokio::test]
async fn a_load_is_new_enough() {
    let server = Server::start(&[]).await;
    let mut settings = without_memory();
    settings.memory_time_to_live = Duration::from_secs(60);
    let cache = cache(&server.url(), settings).await;
    cache.set("a", 4, Bytes::new()).await;
    let found = cache
        .load_at_least("a", 5, async || Loaded::Ok(Some((5, Bytes::new()))))
        .await;
    assert_eq!(found.expect("loads").expect("is there").version, 5);
}
