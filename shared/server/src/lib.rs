//! Everything around a service's handlers, the same for every service: the
//! command line, configuration, migrations, telemetry, the stack of layers,
//! health, reflection, metrics, the relay of events, and a shutdown that
//! finishes what is in flight.
//!
//! A service gives a [`Definition`]; [`main`] does the rest. No handler repeats
//! what a layer here does: the caller, the permission, the deadline, the
//! idempotency key and the correlation id are settled before a handler runs,
//! and come to it as a [`Context`].

mod cli;
mod config;
mod context;
pub mod database;
mod definition;
mod detached;
mod http;
mod invariants;
mod layers;
mod operations;
mod outbound;
mod readiness;
mod reads;
mod serve;
mod telemetry;

/// Every service's allocator. A call is some hundred short-lived allocations, made
/// on one thread and often freed on another, where the C library's is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use bursar_crash::{canary, crash_point};
pub use cli::{ExtraCommand, Extras, main, main_with};
pub use config::{Config, Environment};
pub use context::Context;
pub use definition::{Assembly, Definition, Job, Migrations, Start};
pub use detached::{detached, now};
pub use invariants::{Check, Findings, Invariant, Verdict, run_check, verify};
pub use outbound::Outbound;
pub use reads::Reads;
pub use serve::{Running, start};
