//! One Redis connection a purpose, and a two-level cache for what is displayed.
//!
//! The cache answers reads that may be a moment old. No decision about money
//! reads it: those read the ledger under its locks. So Redis may be gone, slow,
//! flushed or evicting, and the caller sees nothing but misses: reads miss,
//! writes are dropped and counted, and a breaker bounds the time that is lost.
//!
//! Values carry a version and replace only older ones, in memory and, by one
//! script, in Redis. A write that was lost leaves an older value behind for at
//! most the time to live; an instance never shows an older value than one it has
//! written or shown before, while it remembers that version.

mod address;
mod breaker;
mod cache;
mod connection;
mod eviction;
mod flight;
mod level;
mod loading;
mod memory;
mod pattern;
mod purpose;
mod statistics;

pub use address::AddressError;
pub use cache::{Cache, Cached, Item, Settings, Written};
pub use connection::{Connection, Limits, OpenError};
pub use loading::LoadError;
pub use purpose::{Keyspace, Purpose};
pub use statistics::Statistics;
