//! Keys spread over three nodes.

use bursar_cache::{Connection, Item, OpenError, Purpose};
use bursar_testkit::ClaimedPort;

use crate::server::{Bytes, Server, cache, eventually, without_memory};

const RANGES: [&str; 3] = ["0 5460", "5461 10922", "10923 16383"];

async fn nodes() -> Vec<Server> {
    let mut nodes = Vec::new();
    for range in RANGES {
        let bus_claim = ClaimedPort::claim();
        let bus = bus_claim.address().port().to_string();
        let node = Server::start(&[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        ])
        .await;
        node.command::<String>(&format!("CLUSTER ADDSLOTSRANGE {range}"))
            .await;
        if let Some(first) = nodes.first() {
            let first: &Server = first;
            first
                .command::<String>(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port))
                .await;
        }
        nodes.push(node);
    }
    for node in &nodes {
        eventually("the node knows all slots", async || {
            let info: String = node.command("CLUSTER INFO").await;
            info.contains("cluster_slots_assigned:16384") && info.contains("cluster_state:ok")
        })
        .await;
    }
    nodes
}

/// Everything works across the nodes: writes, bulk reads, updates, removal by
/// pattern; and a dead node costs its own keys only.
#[tokio::test]
async fn a_cluster_serves_and_loses_only_a_dead_nodes_keys() {
    let mut nodes = nodes().await;
    let url = format!(
        "redis+cluster://127.0.0.1:{},127.0.0.1:{}",
        nodes[0].port, nodes[1].port
    );
    let writer = cache(&url, without_memory()).await;
    let reader = cache(&url, without_memory()).await;
    let items = |version| {
        (0..900).map(move |n| Item {
            key: format!("a:{n}"),
            version,
            value: Bytes::new(),
        })
    };
    assert_eq!(writer.set_many(items(2)).await.stored, 900);
    assert_eq!(reader.set_many(items(1)).await.older, 900);
    assert_eq!(reader.update_many(items(3)).await.stored, 900);
    for node in &nodes {
        assert!(node.command::<i64>("DBSIZE").await > 100);
    }
    let names: Vec<String> = (0..900).map(|n| format!("a:{n}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let read = reader.get_many(&keys).await;
    assert!(
        read.iter()
            .all(|cached| cached.as_ref().is_some_and(|c| c.version == 3))
    );
    assert_eq!(writer.remove_matching("a:1*").await, Some(111));
    assert!(writer.get("a:1").await.is_none());
    nodes[2].kill();
    let survivors = cache(&url, without_memory()).await;
    eventually("the other nodes' keys are read", async || {
        let mut hits = 0;
        for key in ["a:2", "a:3", "a:4", "a:5", "a:6", "a:7", "a:8", "a:9"] {
            hits += u32::from(survivors.get(key).await.is_some());
        }
        hits > 0
    })
    .await;
}

/// One evicting node makes a cluster unfit for state.
#[tokio::test]
async fn one_evicting_node_is_enough() {
    let nodes = nodes().await;
    let url = format!("redis+cluster://127.0.0.1:{}", nodes[0].port);
    assert!(Connection::open(Purpose::State, &url).await.is_ok());
    nodes[1]
        .command::<String>("CONFIG SET maxmemory-policy allkeys-lfu")
        .await;
    let refused = Connection::open(Purpose::State, &url).await;
    assert!(matches!(refused, Err(OpenError::Evicts { .. })));
}
