//! The event log, its relay to Redis Streams, inboxes and dead letters.
//!
//! The way of an event:
//!
//! 1. A service writes it in the transaction of what it tells: [`append`], or
//!    [`Columns`] inside a larger statement. The table `events` only grows; a
//!    trigger notes each new row in `outbox`. A service that writes many at once,
//!    and holds the locks of all their aggregates, writes them as one row of
//!    `event_batches` instead ([`append_locked`], [`BatchRow`]), noted in
//!    `outbox_batches`. One that wants to read them again gives the row a name
//!    ([`append_named`], [`of_aggregate`]). The view `event_log` has the events of both.
//! 2. The [`relay`] of that database publishes it to the stream
//!    `bursar:events:<source>` as a CloudEvent, at least once and, for each
//!    aggregate, in the order of the versions. Then its outbox row goes.
//! 3. A [`consumer`] lets it take effect in its own database, once, and sets it
//!    aside as a [dead letter](dead_letters) when that cannot be done. Who only tells
//!    what happens reads the stream by a [`tail`].
//!
//! What all of this rests on: the versions of an aggregate run 1, 2, 3 without
//! a gap, and version n commits after version n−1. The unique key of `events`
//! refuses a second row of the same version, so writers that decide a version
//! under a lock on the aggregate, or retry on that key, have it by themselves.
//! Batches have no such key: their writers must hold the locks.
//!
//! Nothing here decides anything about money. An event tells what has happened;
//! whoever needs an answer now asks the service.
//!
//! # Metrics
//!
//! | name | |
//! |---|---|
//! | `bursar_events_unpublished` | events that wait in the outbox |
//! | `bursar_events_oldest_unpublished_seconds` | how long the oldest has waited |
//! | `bursar_events_dead_letters` | events that are parked in this database |
//! | `bursar_events_published_total{source}` | events published |
//! | `bursar_events_relay_failures_total` | steps of the relay that failed |
//! | `bursar_events_lag{source, group}` | entries that a group has not acknowledged |
//! | `bursar_events_handled_total{group, source}` | events that took effect |
//! | `bursar_events_together_total{group, outcome}` | times that events could take effect together: `taken`, or left to come alone as the handler `failed`, one was `not_next` or the database `interrupted` |
//! | `bursar_events_delivery_seconds{group, source}` | from the occurrence to the effect |
//! | `bursar_events_retried_total{group}` | attempts that are to be repeated |
//! | `bursar_events_dead_lettered_total{group, reason}` | events set aside |
//! | `bursar_events_consumer_failures_total` | sessions of consumers that broke |
//!
//! # For operators
//!
//! - A group that nobody runs any more keeps its stream from being trimmed:
//!   destroy it (`XGROUP DESTROY`).
//! - Redis must not evict streams: `maxmemory-policy noeviction`.
//! - [`dead_letters::replay`] works through what is parked,
//!   [`dead_letters::discard`] gives one event up, [`relay::republish`]
//!   publishes a time's events again. Consumers know what they had.

mod backoff;
mod connection;
pub mod consumer;
pub mod dead_letters;
mod envelope;
mod event;
pub mod inbox;
mod log;
mod received;
pub mod relay;
mod stats;
pub mod tail;
mod trace;

pub use event::{Aggregate, Event, EventData};
pub use log::{BatchRow, Columns, Logged, append, append_locked, append_named, of_aggregate};
pub use received::{HandlerError, Received};
pub use stats::{Stats, UNPUBLISHED_EVENTS_SQL, VERSION_GAPS_SQL, stats};

/// The migrations of this crate, with a table of applied versions of their own.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// What the key of every stream starts with; the source follows.
pub(crate) const STREAM_PREFIX: &str = "bursar:events:";
