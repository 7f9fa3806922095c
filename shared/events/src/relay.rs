//! The relay: publishes the events of a database to a Redis stream.
//!
//! What it promises:
//!
//! - Every event that commits is published, at least once. The outbox has a row
//!   for it until it is in the stream, so no transaction can commit too late to
//!   be seen.
//! - The first appearances of an aggregate's events are in the order of their
//!   versions. A gate (`gate.rs`) holds an event back until the one before it is out;
//!   batches are in order by themselves (`batches.rs`); a chunk enters the stream
//!   whole or not at all.
//! - Nothing leaves the stream that a consumer group has not acknowledged.
//! - With Redis away events stay in the outbox; what Redis lost is published
//!   again (`recovery.rs`).
//!
//! Any number of relays may run on a database. They share its partitions by
//! leases; a relay that has none stands by.
//!
//! A relay sleeps until a writer rings. Only the first writer after it fell
//! asleep does (see `relay_doorbell` in the migrations), so a relay that has
//! just worked looks again for a short while before it sleeps, and from time to
//! time even while it sleeps.

mod batches;
mod gate;
mod leases;
mod outbox;
mod recovery;
mod run;
mod stream;

use std::time::Duration;

use redis::RedisError;
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::recovery::republish;
use self::run::{Next, Run};
use crate::backoff::Backoff;

/// What can be set about a relay.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the stream's key starts with; the source follows.
    pub stream_prefix: String,
    /// How long a partition stays with a relay that died.
    pub lease: Duration,
    /// How often the outbox is looked at while nobody rings.
    pub poll_interval: Duration,
    /// How many events of a partition, or of the batches, are read at once.
    pub page_rows: u32,
    /// How many entries the stream keeps at least, for consumers to come.
    pub keep_entries: usize,
    /// How often the stream is trimmed and checked, and the gauges are set.
    pub housekeeping_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream_prefix: crate::STREAM_PREFIX.to_owned(),
            lease: Duration::from_secs(10),
            poll_interval: Duration::from_millis(250),
            page_rows: 500,
            keep_entries: 10_000,
            housekeeping_interval: Duration::from_secs(10),
        }
    }
}

/// Publishes the events of a database.
#[derive(Clone, Debug)]
pub struct Relay {
    pool: PgPool,
    redis: redis::Client,
    source: String,
    settings: Settings,
}

impl Relay {
    /// A relay for the database of `pool` (the application role). It makes two
    /// connections of its own. `source` is what the events come from,
    /// such as `bursar.wallet`; they go to `bursar:events:<source>`.
    pub fn new(pool: PgPool, redis: redis::Client, source: impl Into<String>) -> Self {
        Self {
            pool,
            redis,
            source: source.into(),
            settings: Settings::default(),
        }
    }

    /// The same relay with other settings.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Publishes until `shutdown`, whatever fails meanwhile, and gives its
    /// partitions back at the end.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut run = Run::new(self);
        while !shutdown.is_cancelled() {
            match run.step().await {
                Ok(Next::Again) => run.trouble.over(),
                Ok(Next::Sleep { until, ring }) => {
                    run.trouble.over();
                    run.sleep(until, ring, &shutdown).await;
                }
                Err(error) => {
                    let wait = run.trouble.begins(&error);
                    let until = run.disconnect(Instant::now() + wait);
                    run.sleep(until, false, &shutdown).await;
                }
            }
        }
        run.end().await;
    }
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("Redis failed: {0}")]
    Redis(#[from] RedisError),
}

/// An outage: logged when it begins and when it is over.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
}

impl Trouble {
    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(5),
    };

    /// Counts a failure; returns how long to wait.
    fn begins(&mut self, error: &RelayError) -> Duration {
        if self.failures == 0 {
            tracing::error!(%error, "the relay cannot publish; events wait in the outbox");
        }
        metrics::counter!("bursar_events_relay_failures_total").increment(1);
        self.failures = self.failures.saturating_add(1);
        Self::BACKOFF.wait(self.failures)
    }

    fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "the relay publishes again");
            self.failures = 0;
        }
    }
}
