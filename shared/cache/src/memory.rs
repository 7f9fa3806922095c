//! The level in this process. An entry is fresh for a short time; after that it
//! is kept for its version alone, so that an older value from Redis or from a
//! slow loader is not taken for news. Every change of an entry is atomic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_crash::canary;
use moka::ops::compute::Op;
use moka::sync;

use crate::cache::Cached;
use crate::pattern;

pub(crate) struct Memory<V> {
    entries: sync::Cache<String, Entry<V>>,
    time_to_live: Duration,
}

struct Entry<V> {
    version: u64,
    /// None once removed: the version stays.
    value: Option<Arc<V>>,
    fresh_until: Instant,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self {
            version: self.version,
            value: self.value.clone(),
            fresh_until: self.fresh_until,
        }
    }
}

impl<V> Entry<V> {
    fn fresh(&self) -> Option<Cached<V>> {
        let value = self.value.as_ref()?;
        (Instant::now() < self.fresh_until).then(|| Cached {
            version: self.version,
            value: Arc::clone(value),
        })
    }
}

/// What became of a value that was offered.
pub(crate) enum Admission<V> {
    /// It is the newest.
    Taken,
    /// A newer one is known; it is there if it is fresh.
    Older(Option<Cached<V>>),
}

impl<V: Send + Sync + 'static> Memory<V> {
    /// `remembered`: for how long a version is known after it was last seen.
    pub(crate) fn new(capacity: u64, time_to_live: Duration, remembered: Duration) -> Self {
        Self {
            entries: sync::Cache::builder()
                .max_capacity(capacity)
                .time_to_live(remembered)
                .build(),
            time_to_live,
        }
    }

    pub(crate) fn fresh(&self, key: &str) -> Option<Cached<V>> {
        self.entries.get(key)?.fresh()
    }

    /// Takes the value unless a newer one is known. The same version is taken
    /// again: it is fresh once more.
    pub(crate) fn admit(&self, key: &str, offered: &Cached<V>) -> Admission<V> {
        let mut admission = Admission::Taken;
        self.entries.entry_by_ref(key).and_compute_with(|entry| {
            let known = entry.map(moka::Entry::into_value);
            let is_newer = |known: &Entry<V>| {
                known.version > offered.version && !canary!("cache.older_admitted")
            };
            if let Some(newer) = known.filter(is_newer) {
                admission = Admission::Older(newer.fresh());
                return Op::Nop;
            }
            Op::Put(Entry {
                version: offered.version,
                value: Some(Arc::clone(&offered.value)),
                fresh_until: Instant::now() + self.jittered(),
            })
        });
        admission
    }

    /// Takes the value where a fresh one is shown, without making it last longer;
    /// a former one only becomes older. Whether one is shown.
    pub(crate) fn update(&self, key: &str, offered: &Cached<V>) -> bool {
        if !self.entries.contains_key(key) {
            return false;
        }
        let mut is_shown = false;
        self.entries.entry_by_ref(key).and_compute_with(|entry| {
            let Some(known) = entry.map(moka::Entry::into_value) else {
                return Op::Nop;
            };
            is_shown = known.fresh().is_some();
            if known.version >= offered.version {
                return Op::Nop;
            }
            Op::Put(Entry {
                version: offered.version,
                value: is_shown.then(|| Arc::clone(&offered.value)),
                fresh_until: known.fresh_until,
            })
        });
        is_shown
    }

    /// Remembers the version, so that nothing older is shown from now on.
    pub(crate) fn raise(&self, key: &str, version: u64) {
        self.entries.entry_by_ref(key).and_compute_with(|entry| {
            let known = entry.map(moka::Entry::into_value);
            if known.is_some_and(|known| known.version >= version) {
                return Op::Nop;
            }
            Op::Put(Entry {
                version,
                value: None,
                fresh_until: Instant::now(),
            })
        });
    }

    /// Removes the value and keeps its version.
    pub(crate) fn remove(&self, key: &str) {
        self.entries.entry_by_ref(key).and_compute_with(|entry| {
            entry.map_or(Op::Nop, |entry| {
                let known = entry.into_value();
                Op::Put(Entry {
                    value: None,
                    ..known
                })
            })
        });
    }

    /// Removes what matches, versions too.
    pub(crate) fn remove_matching(&self, wanted: &str) {
        for (key, _) in &self.entries {
            if pattern::matches(wanted, &key) {
                self.entries.invalidate(&*key);
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    /// The time to live, up to a tenth longer, so that what was filled together
    /// does not expire together.
    fn jittered(&self) -> Duration {
        let spread = u64::try_from(self.time_to_live.as_micros() / 10).unwrap_or(0);
        self.time_to_live + Duration::from_micros(rand::random_range(0..=spread))
    }
}
