//! A relay at work.

use std::collections::HashMap;
use std::time::Duration;

use bursar_crash::crash_point;
use redis::RedisError;
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batches::{self, Waiting};
use super::gate::{self, Pending};
use super::leases::Leases;
use super::outbox::{self, Cursor, Published};
use super::recovery::{self, Settled};
use super::stream::{EntryId, Stream};
use super::{Relay, RelayError, Trouble};
use crate::received::Received;

/// How many events enter the stream in one transaction.
const CHUNK_ROWS: usize = 500;
/// How long a relay keeps looking after it published something: about as long
/// as a writer takes from its insert to its commit.
const LINGER: Duration = Duration::from_millis(30);
/// How often it looks meanwhile.
const LINGER_INTERVAL: Duration = Duration::from_millis(5);
/// How long PostgreSQL may take to accept a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// The settings of sessions whose statements go by keys.
const BY_KEY: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // No key comes twice.
    ("enable_memoize", "off"),
];
/// The channel that the outbox's trigger notifies.
const DOORBELL: &str = "bursar_outbox";

/// What to do after a step.
pub(super) enum Next {
    Again,
    /// Wait until a time, or until a writer rings when `ring` is set.
    Sleep {
        until: Instant,
        ring: bool,
    },
}

/// A relay at work.
pub(super) struct Run {
    relay: Relay,
    pool: PgPool,
    key: String,
    leases: Leases,
    listener: Option<PgListener>,
    stream: Option<Stream>,
    /// The last entry that we know of.
    known: Option<EntryId>,
    /// Partitions whose next page does not start at the beginning, because the
    /// one before was full and some of it has to wait.
    pages: HashMap<i16, i64>,
    linger_until: Instant,
    housekeeping_at: Instant,
    pub(super) trouble: Trouble,
}

impl Run {
    pub(super) fn new(relay: Relay) -> Self {
        let now = Instant::now();
        Self {
            key: format!("{}{}", relay.settings.stream_prefix, relay.source),
            leases: Leases::new(relay.settings.lease),
            listener: None,
            stream: None,
            known: None,
            pages: HashMap::new(),
            linger_until: now,
            housekeeping_at: now,
            trouble: Trouble::default(),
            pool: connections(&relay.pool),
            relay,
        }
    }

    /// Does what is due; returns what to do next.
    pub(super) async fn step(&mut self) -> Result<Next, RelayError> {
        if Instant::now() >= self.housekeeping_at {
            self.housekeeping_at = Instant::now() + self.relay.settings.housekeeping_interval;
            self.set_gauges().await?;
            self.keep_house().await?;
        }
        if Instant::now() >= self.leases.renew_at() {
            crash_point!("relay.before_lease");
            self.leases.keep(&self.pool).await?;
            crash_point!("relay.after_lease");
            self.listen().await;
        }
        if self.leases.held.is_empty() {
            let until = self.leases.renew_at();
            return Ok(Next::Sleep { until, ring: false });
        }
        let published = self.publish().await?;
        let now = Instant::now();
        if published > 0 || !self.pages.is_empty() {
            self.linger_until = now + LINGER;
            return Ok(Next::Again);
        }
        if now < self.linger_until {
            let until = now + LINGER_INTERVAL;
            return Ok(Next::Sleep { until, ring: false });
        }
        if outbox::arm_doorbell(&self.pool).await? {
            return Ok(Next::Again);
        }
        let until = (now + self.relay.settings.poll_interval).min(self.leases.renew_at());
        Ok(Next::Sleep { until, ring: true })
    }

    /// Drops the connection to Redis. Returns until when to wait: not longer
    /// than the leases can.
    pub(super) fn disconnect(&mut self, until: Instant) -> Instant {
        self.stream = None;
        let renew_at = self.leases.renew_at();
        if renew_at > Instant::now() {
            until.min(renew_at)
        } else {
            until
        }
    }

    /// Gives the partitions back.
    pub(super) async fn end(mut self) {
        if let Err(error) = self.leases.release(&self.pool).await {
            tracing::warn!(%error, "the relay's partitions could not be given back");
        }
        drop(self.listener);
        self.pool.close().await;
    }

    /// Publishes what waits, up to a page of it; returns how many events.
    async fn publish(&mut self) -> Result<u64, RelayError> {
        self.connect().await?;
        let waiting = outbox::waiting(&self.pool).await?;
        let mut published = 0;
        if waiting.rows {
            published += self.publish_rows().await?;
        } else {
            self.pages.clear();
        }
        if waiting.batches && self.leases.batches().is_some() {
            published += self.publish_batches().await?;
        }
        if published > 0 {
            crash_point!("relay.after_delete");
            metrics::counter!("bursar_events_published_total", "source" => self.relay.source.clone())
                .increment(published);
        }
        Ok(published)
    }

    /// Publishes batches, in their order; returns how many events.
    async fn publish_batches(&mut self) -> Result<u64, RelayError> {
        let limit = i64::from(self.relay.settings.page_rows);
        let batches = batches::read(&self.pool, &self.relay.source, limit).await?;
        let mut published = 0;
        let mut batches = batches.as_slice();
        while let Some(count) = first_chunk(batches) {
            let (chunk, rest) = batches.split_at(count);
            batches = rest;
            let events: Vec<&Received> = chunk.iter().flat_map(|batch| &batch.events).collect();
            let Some(last) = self.add_all(&events).await? else {
                break;
            };
            let seqs: Vec<i64> = chunk.iter().map(|batch| batch.seq).collect();
            crash_point!("relay.before_batches_delete");
            let deleted = batches::delete(&self.pool, &self.leases, &self.key, &seqs, last).await?;
            if deleted < seqs.len() as u64 {
                self.leases.doubt();
                break;
            }
            published += events.len() as u64;
        }
        Ok(published)
    }

    /// Adds events in chunks; `None` when the leases ran out meanwhile.
    async fn add_all(&mut self, events: &[&Received]) -> Result<Option<EntryId>, RelayError> {
        let mut last = None;
        for chunk in events.chunks(CHUNK_ROWS) {
            if self.leases.lapsed() {
                return Ok(None);
            }
            last = Some(self.add(chunk.iter().copied()).await?);
        }
        Ok(last)
    }

    /// Publishes one page of every partition; returns how many events.
    async fn publish_rows(&mut self) -> Result<u64, RelayError> {
        let limit = i64::from(self.relay.settings.page_rows);
        let cursors: Vec<Cursor> = self
            .leases
            .rows()
            .map(|held| Cursor {
                partition: held.partition,
                after_seq: self.pages.get(&held.partition).copied().unwrap_or(0),
            })
            .collect();
        let rows = outbox::read(&self.pool, &self.relay.source, &cursors, limit).await?;
        let ends = page_ends(&rows, limit);
        let released = gate::release(rows);
        // A full page with rows that have to wait may hide others behind it.
        self.pages.clear();
        for &(partition, _) in &released.held {
            if let Some(&end) = ends.get(&partition) {
                self.pages.insert(partition, end);
            }
        }
        let mut published = 0;
        for chunk in released.ready.chunks(CHUNK_ROWS) {
            if self.leases.lapsed() {
                break;
            }
            let last = self.add(chunk.iter().map(|row| &row.event)).await?;
            let done = Published {
                stream: &self.key,
                rows: chunk,
                last,
            };
            crash_point!("relay.before_delete");
            let deleted = outbox::delete(&self.pool, &self.leases, &done).await?;
            published += deleted;
            if deleted < chunk.len() as u64 {
                self.leases.doubt();
                break;
            }
        }
        Ok(published)
    }

    /// Adds a chunk to the stream.
    async fn add<'a>(
        &mut self,
        chunk: impl Iterator<Item = &'a Received>,
    ) -> Result<EntryId, RelayError> {
        let Some(stream) = &mut self.stream else {
            return Err(RedisError::from((redis::ErrorKind::Client, "not connected")).into());
        };
        crash_point!("relay.before_add");
        let added = stream.add(chunk).await?;
        crash_point!("relay.after_add");
        self.check(added.before).await?;
        self.known = Some(added.last);
        Ok(added.last)
    }

    /// Connects when there is no connection, and looks whether Redis still has
    /// what it had.
    async fn connect(&mut self) -> Result<(), RelayError> {
        if self.stream.is_none() {
            let mut stream = Stream::connect(&self.relay.redis, &self.key).await?;
            self.known = recovery::known(&self.pool, &self.key).await?;
            let last = stream.last().await?;
            self.stream = Some(stream);
            self.check(last).await?;
        }
        Ok(())
    }

    /// Publishes lost events again when the stream ends before what we know.
    async fn check(&mut self, last: Option<EntryId>) -> Result<(), RelayError> {
        if let Some(known) = self.known.filter(|&known| last < Some(known)) {
            recovery::republish_lost(&self.pool, &self.key, known).await?;
            self.known = None;
        }
        Ok(())
    }

    async fn set_gauges(&mut self) -> Result<(), RelayError> {
        let mut connection = self.pool.acquire().await?;
        let stats = crate::stats(&mut connection).await?;
        let age = Duration::from_millis(stats.oldest_unpublished_age_ms).as_secs_f64();
        metrics::gauge!("bursar_events_unpublished").set(count(stats.unpublished_events));
        metrics::gauge!("bursar_events_oldest_unpublished_seconds").set(age);
        metrics::gauge!("bursar_events_dead_letters").set(count(stats.dead_letters));
        Ok(())
    }

    /// Trims the stream to what its groups have acknowledged, and checks it.
    async fn keep_house(&mut self) -> Result<(), RelayError> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let groups = stream.groups().await?;
        for group in &groups {
            if let Some(lag) = group.lag {
                let labels = [
                    ("source", self.relay.source.clone()),
                    ("group", group.name.clone()),
                ];
                metrics::gauge!("bursar_events_lag", &labels).set(count(lag as u64));
            }
        }
        let acknowledged = groups.iter().map(|group| group.position).min();
        let settled = match acknowledged {
            None => Some(None),
            Some(id) => stream
                .event(id)
                .await?
                .map(|event| Some(Settled::of(&event))),
        };
        if let Some(settled) = settled {
            crash_point!("relay.before_settle");
            recovery::settle(&self.pool, &self.key, settled).await?;
            crash_point!("relay.after_settle");
        }
        // The last entry always stays: by it a loss is noticed.
        let keep = self.relay.settings.keep_entries.max(1);
        crash_point!("relay.before_trim");
        stream.trim(acknowledged, keep).await?;
        crash_point!("relay.after_trim");
        let last = stream.last().await?;
        self.check(last).await
    }

    /// Listens for the doorbell. Without it the relay polls.
    async fn listen(&mut self) {
        if self.listener.is_none() {
            match listen(&self.pool).await {
                Ok(listener) => self.listener = Some(listener),
                Err(error) => tracing::warn!(%error, "the relay cannot listen and polls instead"),
            }
        }
    }

    /// Waits until a time, a ring (when `ring` is set) or the shutdown.
    pub(super) async fn sleep(&mut self, until: Instant, ring: bool, shutdown: &CancellationToken) {
        let bell = async {
            match &mut self.listener {
                Some(listener) if ring => listener.recv().await.is_ok(),
                Some(_) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep_until(until) => {}
            rang = bell => {
                if rang {
                    self.linger_until = Instant::now() + LINGER;
                } else {
                    self.listener = None;
                }
            }
        }
    }
}

/// The relay's own connections: one to work, one to listen. So it publishes
/// also while requests use up the service's.
///
/// The outbox grows a thousandfold within seconds, and a plan for an empty one would read
/// a full one from end to end. Every row that the relay wants has a key, so its statements
/// are planned once, to go by keys whatever the tables' sizes are said to be.
fn connections(pool: &PgPool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(pool.connect_options().as_ref().clone().options(BY_KEY))
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(DOORBELL).await?;
    Ok(listener)
}

/// How many of the batches enter the stream together: as many as fit a chunk,
/// and one that fits none by itself.
fn first_chunk(batches: &[Waiting]) -> Option<usize> {
    let mut events = 0;
    let fitting = batches.iter().take_while(|batch| {
        events += batch.events.len();
        events <= CHUNK_ROWS
    });
    let count = fitting.count().max(1);
    (!batches.is_empty()).then_some(count)
}

/// The last sequence number of every page that is full.
fn page_ends(rows: &[Pending], limit: i64) -> HashMap<i16, i64> {
    let mut pages: HashMap<i16, (i64, i64)> = HashMap::new();
    for row in rows {
        let (rows, end) = pages.entry(row.partition).or_default();
        *rows += 1;
        *end = row.seq;
    }
    pages
        .into_iter()
        .filter(|&(_, (rows, _))| rows >= limit)
        .map(|(partition, (_, end))| (partition, end))
        .collect()
}

/// A count as a gauge has it.
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floating-point; 2^53 is plenty"
)]
fn count(count: u64) -> f64 {
    count as f64
}
