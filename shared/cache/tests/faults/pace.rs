//! What an update after each commit costs.

use std::time::Instant;

use bursar_cache::Item;

use crate::server::{Bytes, Server, cache, without_memory};

const ITEMS: u64 = 400;
const BATCHES: u64 = 100;

fn items(version: u64) -> impl Iterator<Item = Item<Bytes>> {
    (0..ITEMS).map(move |n| Item {
        key: format!("wal_{n:026}"),
        version,
        value: vec![7; 200],
    })
}

/// An update of 400 values is one call, whether anybody read them or not, and
/// cheap enough for a hundred of them a second.
#[tokio::test]
async fn an_update_is_one_cheap_call() {
    let server = Server::start(&[]).await;
    let cache = cache(&server.url(), without_memory()).await;
    for is_read in [false, true] {
        if is_read {
            cache.set_many(items(1)).await;
        } else {
            cache.update_many(items(1)).await;
        }
        server.command::<String>("CONFIG RESETSTAT").await;
        let begun = Instant::now();
        for version in 2..2 + BATCHES {
            let written = cache.update_many(items(version)).await;
            let expected = if is_read {
                written.stored
            } else {
                written.absent
            };
            assert_eq!(expected, ITEMS);
        }
        let elapsed = begun.elapsed();
        println!(
            "read: {is_read}; ns an item: {}",
            elapsed.as_nanos() / u128::from(ITEMS * BATCHES)
        );
        let calls: String = server.command("INFO commandstats").await;
        assert!(
            calls.contains(&format!("cmdstat_evalsha:calls={BATCHES},")),
            "{calls}"
        );
        assert!(elapsed.as_secs() < 5, "{elapsed:?}");
    }
}
