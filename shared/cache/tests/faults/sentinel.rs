//! A master that fails, and the replica that sentinels put in its place.

use crate::server::{Bytes, Server, cache, eventually, try_command, without_memory};

/// The cache follows the sentinels to the new master.
#[tokio::test]
async fn the_cache_follows_a_failover() {
    let mut master = Server::start(&[]).await;
    let master_port = master.port.to_string();
    let replica = Server::start(&[
        "--replicaof",
        &format!("127.0.0.1 {master_port}"),
        "--repl-diskless-sync-delay",
        "0",
    ])
    .await;
    let sentinel = Server::sentinel(master.port).await;
    eventually("the sentinel knows the replica", async || {
        let known: String = try_command(sentinel.port, "INFO sentinel")
            .await
            .unwrap_or_default();
        known.contains("slaves=1")
    })
    .await;
    let url = format!("redis+sentinel://127.0.0.1:{}/main/0", sentinel.port);
    let cache = cache(&url, without_memory()).await;
    assert_eq!(cache.set("a", 1, Bytes::new()).await.stored, 1);
    eventually("the replica has it", async || {
        replica.command::<i64>("DBSIZE").await == 1
    })
    .await;
    master.kill();
    let mut version = 1;
    eventually("the new master takes writes", async || {
        version += 1;
        cache.set("a", version, Bytes::new()).await.stored == 1
    })
    .await;
    assert_eq!(cache.get("a").await.expect("in Redis").version, version);
    let role: String = replica.command("INFO replication").await;
    assert!(role.contains("role:master"));
}
