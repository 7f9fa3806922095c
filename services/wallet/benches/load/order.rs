//! What can be asked for.

use std::time::Duration;

use serde::Deserialize;

/// An order, as a line of JSON holds it.
#[derive(Debug, Deserialize)]
#[serde(tag = "measure", rename_all = "snake_case")]
pub(crate) enum Order {
    /// The store and the writers alone, without gRPC.
    LedgerSql(LedgerSql),
    /// `PostBatch` with one posting a call.
    Post(Post),
    /// `CreateWallet`.
    Create(Create),
    /// `GetWallet`.
    Read(Read),
}

/// Which wallets the load is about: those of a database, or the first so many.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Wallets {
    pub(crate) database_url: String,
    pub(crate) limit: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LedgerSql {
    pub(crate) wallets: Wallets,
    /// The database as the application role, which is what is measured.
    pub(crate) application_url: String,
    pub(crate) seconds: u64,
}

/// How a posting chooses its two wallets.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// Any two.
    Uniform,
    /// One of the two is always the same.
    Hot,
    /// A few pairs, half of the callers against the other half.
    Opposed,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Post {
    pub(crate) wallets: Wallets,
    pub(crate) address: String,
    pub(crate) shape: Shape,
    pub(crate) callers: usize,
    pub(crate) seconds: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    pub(crate) address: String,
    pub(crate) callers: usize,
    pub(crate) seconds: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Read {
    pub(crate) wallets: Wallets,
    pub(crate) address: String,
    pub(crate) callers: usize,
    pub(crate) seconds: u64,
}

/// A number of seconds as a span of time.
pub(crate) fn span(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
