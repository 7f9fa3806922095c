//! The event log, its relay to Redis Streams, inboxes and dead letters.

mod backoff;
pub mod consumer;
pub mod dead_letters;
mod envelope;
mod event;
pub mod inbox;
mod log;
mod received;
pub mod relay;
mod stats;
mod trace;

pub use event::{Aggregate, Event, EventData};
pub use log::{Columns, append};
pub use received::{HandlerError, Received};
pub use stats::{Stats, UNPUBLISHED_EVENTS_SQL, VERSION_GAPS_SQL, stats};

/// The migrations of this crate, with a table of applied versions of their own.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// What the key of every stream starts with; the source follows.
pub(crate) const STREAM_PREFIX: &str = "bursar:events:";
