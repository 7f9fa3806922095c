//! The cache on real servers that are killed, flushed, frozen, full, failed over
//! and spread over a cluster.

mod cluster;
mod conditions;
mod eviction;
mod loading;
mod model;
mod outage;
mod pace;
mod sentinel;
mod server;
