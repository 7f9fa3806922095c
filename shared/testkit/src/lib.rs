//! What tests of services are made of: a database of their own, tokens that
//! services trust, and services that run in the test's process.
//!
//! Nothing here stands in for a part of ours: the database is a real
//! PostgreSQL (`BURSAR_TEST_POSTGRES_URL`), the services are whole, and only the
//! issuer of tokens and a payment provider ([`xpress`]) are the test's own. Where a test kills, it has a process
//! ([`TestProcess`]) or a server ([`TestPostgres`]) that nobody else uses.

mod crash_points;
mod database;
mod lanes;
mod leash;
mod port;
mod postgres;
mod proc;
mod process;
mod service;
mod tokens;
mod wait;
pub mod xpress;

pub use crash_points::crash_points;
pub use database::TestDatabase;
pub use lanes::side_by_side;
pub use port::ClaimedPort;
pub use postgres::TestPostgres;
pub use process::TestProcess;
pub use service::TestService;
pub use tokens::{Tokens, with_token};

/// The Redis for tests, from `BURSAR_TEST_REDIS_URL`.
pub fn redis_url() -> String {
    required("BURSAR_TEST_REDIS_URL")
}

/// A variable without which no test can run.
fn required(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run the tests by `make test`"))
}
