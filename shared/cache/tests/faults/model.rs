//! Random histories against a model of what may be shown.

use std::collections::HashMap;

use bursar_cache::{Cache, Item};
use proptest::prelude::*;

use crate::server::{Bytes, Server, cache, key, restore, without_memory};

#[derive(Debug, Clone)]
enum Step {
    Set(usize, u8, u64),
    Update(usize, u8, u64),
    Get(usize, u8),
    GetMany(usize),
    Load(usize, u8, u64),
    Remove(usize, u8),
    /// Redis drops a key, as when it expires or is evicted.
    Evict(u8),
    /// Redis goes back to an older value, as after a failover that lost writes.
    LoseWrite(u8, u64),
    Flush,
}

const INSTANCES: usize = 2;
const KEYS: u8 = 3;

fn step() -> impl Strategy<Value = Step> {
    let at = || (0..INSTANCES, 0..KEYS);
    let versions = || 1..20_u64;
    prop_oneof![
        4 => (at(), versions()).prop_map(|((i, k), v)| Step::Set(i, k, v)),
        4 => (at(), versions()).prop_map(|((i, k), v)| Step::Update(i, k, v)),
        6 => at().prop_map(|(i, k)| Step::Get(i, k)),
        2 => (0..INSTANCES).prop_map(Step::GetMany),
        3 => (at(), versions()).prop_map(|((i, k), v)| Step::Load(i, k, v)),
        1 => at().prop_map(|(i, k)| Step::Remove(i, k)),
        2 => (0..KEYS).prop_map(Step::Evict),
        1 => (0..KEYS, versions()).prop_map(|(k, v)| Step::LoseWrite(k, v)),
        1 => Just(Step::Flush),
    ]
}

/// What each instance has acknowledged, and what Redis had.
#[derive(Default)]
struct Model {
    seen: HashMap<(usize, u8), u64>,
    redis: HashMap<u8, u64>,
}

impl Model {
    /// An instance shows nothing older than what it wrote or showed.
    fn shown(&mut self, instance: usize, name: u8, version: u64) {
        let seen = self.seen.entry((instance, name)).or_default();
        assert!(version >= *seen, "{name} showed {version} after {seen}");
        *seen = version;
    }

    fn raised(&mut self, instance: usize, name: u8, version: u64) {
        let seen = self.seen.entry((instance, name)).or_default();
        *seen = version.max(*seen);
    }
}

fn content(name: u8, version: u64) -> Bytes {
    [&[name], version.to_be_bytes().as_slice()].concat()
}

async fn run(server: &Server, caches: &[Cache<Bytes>], steps: &[Step]) {
    let mut model = Model::default();
    for step in steps {
        match *step {
            Step::Set(i, k, v) => {
                let written = caches[i].set(&k.to_string(), v, content(k, v)).await;
                assert_eq!(written.stored + written.older, 1);
                if written.stored == 1 {
                    model.raised(i, k, v);
                }
            }
            Step::Update(i, k, v) => {
                let item = Item {
                    key: k.to_string(),
                    version: v,
                    value: content(k, v),
                };
                caches[i].update_many([item]).await;
            }
            Step::Get(i, k) => {
                if let Some(cached) = caches[i].get(&k.to_string()).await {
                    assert_eq!(*cached.value, content(k, cached.version));
                    model.shown(i, k, cached.version);
                }
            }
            Step::GetMany(i) => {
                let read = caches[i].get_many(&["0", "1", "2"]).await;
                for (k, cached) in (0..KEYS).zip(read) {
                    if let Some(cached) = cached {
                        assert_eq!(*cached.value, content(k, cached.version));
                        model.shown(i, k, cached.version);
                    }
                }
            }
            Step::Load(i, k, v) => {
                // The source itself never goes back for whoever asks it.
                let v = v.max(model.seen.get(&(i, k)).copied().unwrap_or(0));
                let loader = async || Ok::<_, String>(Some((v, content(k, v))));
                let loaded = caches[i].load(&k.to_string(), loader).await;
                model.shown(i, k, loaded.expect("loads").expect("is there").version);
            }
            Step::Remove(i, k) => {
                caches[i].remove(&k.to_string()).await;
                model.redis.remove(&k);
            }
            Step::Evict(k) => {
                server
                    .command::<i64>(&format!("DEL {}", key(&k.to_string())))
                    .await;
                model.redis.remove(&k);
            }
            Step::LoseWrite(k, v) => {
                restore(server, &k.to_string(), v, &content(k, v)).await;
                model.redis.insert(k, v);
            }
            Step::Flush => {
                server.command::<String>("FLUSHALL").await;
                model.redis.clear();
            }
        }
        redis_goes_forward(server, &mut model).await;
    }
}

/// No call of the cache replaces a version in Redis by an older one.
async fn redis_goes_forward(server: &Server, model: &mut Model) {
    let names: Vec<String> = (0..KEYS).map(|k| key(&k.to_string())).collect();
    let values: Vec<Option<Bytes>> = server.command(&format!("MGET {}", names.join(" "))).await;
    for (k, value) in (0..KEYS).zip(values) {
        let version = value
            .as_deref()
            .and_then(|bytes| bytes.first_chunk())
            .map(|bytes| u64::from_be_bytes(*bytes));
        let before = model.redis.get(&k).copied();
        assert!(version >= before, "{k} went from {before:?} to {version:?}");
        if let Some(version) = version {
            model.redis.insert(k, version);
        }
    }
}

/// Whatever the order of writes, updates, loads, removals, evictions and lost
/// writes: an instance never shows an older value after a newer one, one that
/// always asks Redis no less than one that keeps all in memory; and the cache
/// never takes Redis back.
#[test]
fn nothing_older_is_ever_shown() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start(&[]));
    proptest!(ProptestConfig::with_cases(48), |(steps in prop::collection::vec(step(), 1..60))| {
        runtime.block_on(async {
            server.command::<String>("FLUSHALL").await;
            let mut remembering = without_memory();
            remembering.memory_time_to_live = std::time::Duration::from_secs(60);
            let caches = [
                cache(&server.url(), without_memory()).await,
                cache(&server.url(), remembering).await,
            ];
            run(&server, &caches, &steps).await;
        });
    });
}
