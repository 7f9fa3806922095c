//! The event log, its relay to Redis Streams, inboxes and dead letters.

pub mod consumer;
mod event;
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
