//! The event log, the relay and consumers on a real PostgreSQL and a real
//! Redis. Every test has a database and a stream prefix of its own.

mod consumer;
mod dead_letters;
mod fixture;
mod log;
mod outage;
mod proxy;
mod relay;
mod round_trip;
