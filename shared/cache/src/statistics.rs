//! What the cache counts, for `statistics()` and for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;

/// What a cache did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Reads that memory answered.
    pub memory_hits: u64,
    /// Reads that Redis answered.
    pub redis_hits: u64,
    /// Reads that neither answered.
    pub misses: u64,
    /// Values that were taken by Redis, or by memory while Redis was not asked.
    pub sets: u64,
    /// Values that were refused because a newer one (or the same) was there.
    pub refused_older: u64,
    /// Updates that were skipped because nobody had read the key.
    pub skipped_absent: u64,
    /// Values that could not be written to Redis.
    pub dropped: u64,
    /// Calls to Redis that failed.
    pub errors: u64,
    /// Calls that were not sent because too many had failed.
    pub short_circuited: u64,
    /// Values that could not be read.
    pub undecodable: u64,
    /// Loads that waited for another of the same key.
    pub coalesced: u64,
    /// Versions that memory remembers, of fresh values and former ones.
    pub entries: u64,
}

macro_rules! counters {
    ($($field:ident: $metric:literal $(, $label:literal => $value:literal)*;)*) => {
        /// The counts; each is also a metric.
        pub(crate) struct Counters { $(pub(crate) $field: Count,)* }

        impl Counters {
            pub(crate) fn new(cache: &'static str) -> Self {
                Self { $($field: Count::new(metrics::counter!(
                    $metric, "purpose" => "cache", "cache" => cache $(, $label => $value)*
                )),)* }
            }

            pub(crate) fn snapshot(&self, entries: u64) -> Statistics {
                Statistics { $($field: self.$field.value.load(Ordering::Relaxed),)* entries }
            }
        }
    };
}

counters! {
    memory_hits: "bursar_cache_reads_total", "level" => "memory", "outcome" => "hit";
    redis_hits: "bursar_cache_reads_total", "level" => "redis", "outcome" => "hit";
    misses: "bursar_cache_reads_total", "level" => "redis", "outcome" => "miss";
    sets: "bursar_cache_writes_total", "level" => "redis", "outcome" => "stored";
    refused_older: "bursar_cache_writes_total", "level" => "redis", "outcome" => "older";
    skipped_absent: "bursar_cache_writes_total", "level" => "redis", "outcome" => "absent";
    dropped: "bursar_cache_writes_total", "level" => "redis", "outcome" => "dropped";
    errors: "bursar_cache_errors_total", "level" => "redis";
    short_circuited: "bursar_cache_short_circuited_total", "level" => "redis";
    undecodable: "bursar_cache_undecodable_total", "level" => "redis";
    coalesced: "bursar_cache_coalesced_loads_total", "level" => "memory";
}

/// One count and its metric.
pub(crate) struct Count {
    value: AtomicU64,
    metric: Counter,
}

impl Count {
    fn new(metric: Counter) -> Self {
        Self {
            value: AtomicU64::new(0),
            metric,
        }
    }

    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.value.fetch_add(count, Ordering::Relaxed);
            self.metric.increment(count);
        }
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }
}
