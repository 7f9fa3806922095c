//! The cache: memory before Redis.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use prost::Message;

use crate::breaker::Breaker;
use crate::connection::Connection;
use crate::flight::Flights;
use crate::level::{Answer, Level, Mode, Raw, Write};
use crate::memory::{Admission, Memory};
use crate::purpose::Keyspace;
use crate::statistics::{Counters, Statistics};

/// How a cache is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names the cache in keys and metrics, such as `wallets`.
    pub name: &'static str,
    /// What its keys begin with.
    pub keyspace: Keyspace,
    /// How many keys memory knows.
    pub memory_capacity: u64,
    /// How long memory shows a value without asking Redis: the longest that
    /// another instance's write goes unseen.
    pub memory_time_to_live: Duration,
    /// How long Redis keeps a value: the longest that a lost write goes unseen.
    pub redis_time_to_live: Duration,
    /// How long a load may take with its value still unable to hide a write that
    /// commits meanwhile.
    pub load_time: Duration,
    /// How many failures in a row stop calls to Redis.
    pub breaker_failures: u32,
    /// How long they stop.
    pub breaker_pause: Duration,
}

impl Settings {
    /// The usual times: a second in memory, a minute in Redis.
    #[must_use]
    pub fn new(name: &'static str, keyspace: Keyspace) -> Self {
        Self {
            name,
            keyspace,
            memory_capacity: 100_000,
            memory_time_to_live: Duration::from_secs(1),
            redis_time_to_live: Duration::from_secs(60),
            load_time: Duration::from_secs(5),
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(1),
        }
    }
}

/// A value and its version.
#[derive(Debug, PartialEq, Eq)]
pub struct Cached<V> {
    /// Rises with every change of what is cached.
    pub version: u64,
    /// The value.
    pub value: Arc<V>,
}

impl<V> Clone for Cached<V> {
    fn clone(&self) -> Self {
        Self {
            version: self.version,
            value: Arc::clone(&self.value),
        }
    }
}

/// A value to be written.
#[derive(Debug, Clone)]
pub struct Item<V> {
    /// The key, without any prefix.
    pub key: String,
    /// The version, compared with the one that is there.
    pub version: u64,
    /// The value.
    pub value: V,
}

/// What became of writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Taken.
    pub stored: u64,
    /// Refused: the same or a newer version is there.
    pub older: u64,
    /// Skipped: an update of what nobody had read.
    pub absent: u64,
    /// Not in Redis, since it did not answer.
    pub dropped: u64,
}

impl Written {
    fn count(&mut self, answer: Answer) {
        match answer {
            Answer::Stored => self.stored += 1,
            Answer::Older => self.older += 1,
            Answer::Absent => self.absent += 1,
            Answer::Dropped => self.dropped += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.older += other.older;
        self.absent += other.absent;
        self.dropped += other.dropped;
    }
}

/// How many values a warm-up writes at a time.
const WARM_UP_BATCH: usize = 500;

/// A two-level cache of protobuf messages (`Vec<u8>` and `String` are such, too).
/// For display only: see the crate's documentation.
pub struct Cache<V> {
    pub(crate) memory: Memory<V>,
    pub(crate) redis: Option<Level>,
    pub(crate) flights: Flights<Cached<V>>,
    pub(crate) counters: Counters,
}

impl<V: Message + Default + 'static> Cache<V> {
    /// A cache; without a connection it is memory alone.
    #[must_use]
    pub fn new(connection: Option<Connection>, settings: Settings) -> Self {
        let keys = settings.keyspace.part(settings.name);
        let redis = connection.map(|connection| {
            Level::new(
                connection,
                keys,
                settings.redis_time_to_live,
                settings.load_time,
                Breaker::new(settings.breaker_failures, settings.breaker_pause),
            )
        });
        // A version is remembered until an older value that Redis kept through a
        // lost write has expired there for certain.
        let remembered = 2 * settings
            .redis_time_to_live
            .max(settings.memory_time_to_live);
        Self {
            memory: Memory::new(
                settings.memory_capacity,
                settings.memory_time_to_live,
                remembered,
            ),
            redis,
            flights: Flights::new(),
            counters: Counters::new(settings.name),
        }
    }

    /// The value, if a level has it.
    pub async fn get(&self, key: &str) -> Option<Cached<V>> {
        self.get_at_least(key, 0).await
    }

    /// The value with this version or a newer one, if a level has it: for a
    /// caller that has seen its own write.
    pub async fn get_at_least(&self, key: &str, min_version: u64) -> Option<Cached<V>> {
        if let Some(fresh) = self.memory_hit(key, min_version) {
            return Some(fresh);
        }
        let found = self.redis_hits(&[key]).await.pop().flatten();
        let found = found.filter(|found| found.version >= min_version);
        self.count_read(found.is_some());
        found
    }

    /// The values in the order of the keys, none for each that no level has.
    pub async fn get_many(&self, keys: &[&str]) -> Vec<Option<Cached<V>>> {
        let mut values: Vec<_> = keys.iter().map(|key| self.memory_hit(key, 0)).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|&at| values[at].is_none()).collect();
        let asked: Vec<&str> = missing.iter().map(|&at| keys[at]).collect();
        for (at, found) in missing.into_iter().zip(self.redis_hits(&asked).await) {
            self.count_read(found.is_some());
            values[at] = found;
        }
        values
    }

    /// Sets the value unless the same version or a newer one is there.
    pub async fn set(&self, key: &str, version: u64, value: V) -> Written {
        let value = Arc::new(value);
        self.store(key, &Cached { version, value }).await
    }

    /// Sets the values that are newer than what is there, in one call.
    pub async fn set_many(&self, items: impl IntoIterator<Item = Item<V>>) -> Written {
        let mut written = Written::default();
        let mut taken = Vec::new();
        for Item {
            key,
            version,
            value,
        } in items
        {
            let value = Arc::new(value);
            let offered = Cached { version, value };
            match self.memory.admit(&key, &offered) {
                Admission::Taken => taken.push((key, offered)),
                Admission::Older(_) => written.count(Answer::Older),
            }
        }
        let writes: Vec<_> = taken
            .iter()
            .map(|(key, offered)| write(key, offered, Mode::Set))
            .collect();
        for answer in self.send(writes).await {
            written.count(answer);
        }
        self.count_writes(written);
        written
    }

    /// Sets the values that are newer, where the key is there in either level or
    /// being loaded: for what has just been committed, read or not. It makes
    /// nothing last longer than it would have.
    pub async fn update_many(&self, items: impl IntoIterator<Item = Item<V>>) -> Written {
        let items: Vec<(String, Cached<V>)> = items
            .into_iter()
            .map(|item| {
                let value = Arc::new(item.value);
                let version = item.version;
                (item.key, Cached { version, value })
            })
            .collect();
        let loading = self
            .flights
            .contain(items.iter().map(|(key, _)| key.as_str()));
        let writes: Vec<_> = items
            .iter()
            .zip(loading)
            .map(|((key, offered), is_loading)| {
                let is_shown = if is_loading {
                    self.memory.admit(key, offered);
                    true
                } else {
                    self.memory.update(key, offered)
                };
                let mode = if is_shown { Mode::Set } else { Mode::Update };
                write(key, offered, mode)
            })
            .collect();
        let mut written = Written::default();
        for ((key, offered), answer) in items.iter().zip(self.send(writes).await) {
            if answer == Answer::Dropped {
                // Redis may still have the value before this one.
                self.memory.raise(key, offered.version);
            }
            written.count(answer);
        }
        self.count_writes(written);
        written
    }

    /// Removes the value. Its version is remembered, so that what is older does
    /// not come back; the same version may.
    pub async fn remove(&self, key: &str) {
        self.memory.remove(key);
        if let Some(redis) = &self.redis
            && !redis.remove(key, &self.counters).await
        {
            self.counters.dropped.one();
        }
    }

    /// Removes all keys that match (`*` any text, `?` any byte) from both levels,
    /// remembered versions too: for a source whose versions began anew. Other
    /// instances' memory keeps its values for its time to live. How many keys
    /// Redis had; none when it could not do all of it.
    pub async fn remove_matching(&self, pattern: &str) -> Option<u64> {
        let removed = match &self.redis {
            Some(redis) => redis.remove_matching(pattern, &self.counters).await,
            None => Some(0),
        };
        self.memory.remove_matching(pattern);
        removed
    }

    /// Fills the cache from a stream, in batches.
    pub async fn warm_up(&self, items: impl Stream<Item = Item<V>>) -> Written {
        let mut batches = std::pin::pin!(items.ready_chunks(WARM_UP_BATCH));
        let mut written = Written::default();
        while let Some(batch) = batches.next().await {
            written.add(self.set_many(batch).await);
        }
        written
    }

    /// What the cache did since it was made.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.counters.snapshot(self.memory.len())
    }

    pub(crate) fn memory_hit(&self, key: &str, min_version: u64) -> Option<Cached<V>> {
        let fresh = self.memory.fresh(key)?;
        (fresh.version >= min_version).then(|| {
            self.counters.memory_hits.one();
            fresh
        })
    }

    /// What Redis read, unless this instance knows of a newer version.
    pub(crate) fn accept(&self, key: &str, raw: Raw) -> Option<Cached<V>> {
        let Ok(value) = V::decode(raw.content.as_slice()) else {
            self.counters.undecodable.one();
            return None;
        };
        let offered = Cached {
            version: raw.version,
            value: Arc::new(value),
        };
        match self.memory.admit(key, &offered) {
            Admission::Taken => Some(offered),
            Admission::Older(newer) => newer,
        }
    }

    pub(crate) async fn store(&self, key: &str, offered: &Cached<V>) -> Written {
        let mut written = Written::default();
        match self.memory.admit(key, offered) {
            Admission::Older(_) => written.count(Answer::Older),
            Admission::Taken => {
                for answer in self.send(vec![write(key, offered, Mode::Set)]).await {
                    written.count(answer);
                }
            }
        }
        self.count_writes(written);
        written
    }

    async fn redis_hits(&self, keys: &[&str]) -> Vec<Option<Cached<V>>> {
        let Some(redis) = &self.redis else {
            return keys.iter().map(|_| None).collect();
        };
        let raws = redis.read(keys, &self.counters).await;
        keys.iter()
            .zip(raws)
            .map(|(key, raw)| self.accept(key, raw?))
            .collect()
    }

    /// Without Redis memory is all there is, and has taken the values already.
    async fn send(&self, writes: Vec<Write<'_>>) -> Vec<Answer> {
        match &self.redis {
            Some(redis) => redis.write(writes, &self.counters).await,
            None => writes
                .iter()
                .map(|write| match write.mode {
                    Mode::Set => Answer::Stored,
                    Mode::Update => Answer::Absent,
                })
                .collect(),
        }
    }

    fn count_read(&self, is_hit: bool) {
        if is_hit {
            self.counters.redis_hits.one();
        } else {
            self.counters.misses.one();
        }
    }

    fn count_writes(&self, written: Written) {
        self.counters.sets.add(written.stored);
        self.counters.refused_older.add(written.older);
        self.counters.skipped_absent.add(written.absent);
        self.counters.dropped.add(written.dropped);
    }
}

fn write<'a, V: Message>(key: &'a str, offered: &Cached<V>, mode: Mode) -> Write<'a> {
    Write {
        key,
        version: offered.version,
        content: offered.value.encode_to_vec(),
        mode,
    }
}
