//! The event log, the relay and consumers on a real PostgreSQL and a real
//! Redis. Every test has a database and a stream prefix of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a test may state its expectations bluntly"
)]

mod batches;
mod consumer;
mod dead_letters;
mod fixture;
mod handover;
mod log;
mod outage;
mod proxy;
mod relay;
mod round_trip;
mod tail;
mod together;
