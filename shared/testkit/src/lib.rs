//! What tests of services are made of: a database of their own, tokens that
//! services trust, and services that run in the test's process.
//!
//! Nothing here stands in for a part of ours: the database is a real
//! PostgreSQL (`BURSAR_TEST_POSTGRES_URL`), the services are whole, and only the
//! issuer of tokens is the test's own.

mod database;
mod service;
mod tokens;

pub use database::TestDatabase;
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
