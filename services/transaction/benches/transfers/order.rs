//! What can be asked for.

use std::time::Duration;

use serde::Deserialize;

/// An order, as a line of JSON holds it.
#[derive(Debug, Deserialize)]
#[serde(tag = "measure", rename_all = "snake_case")]
pub(crate) enum Order {
    /// `CreateTransfer` by gRPC.
    Single(Load),
    /// `CreateTransfer` by REST.
    Rest(Load),
    /// `CreateTransfer` by gRPC with keys that were used before.
    Replay(Load),
    /// `CreateBulkTransfer` by gRPC.
    Bulk(Load),
}

/// The wallets that the load is about: the first so many of a database.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Wallets {
    pub(crate) database_url: String,
    pub(crate) limit: i64,
}

/// How much is asked for, and where.
#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    pub(crate) wallets: Wallets,
    /// Where the gateway answers, `host:port`.
    pub(crate) address: String,
    pub(crate) callers: usize,
    seconds: u64,
}

impl Order {
    /// What is the same in every order.
    pub(crate) fn load(&self) -> &Load {
        match self {
            Self::Single(load) | Self::Rest(load) | Self::Replay(load) | Self::Bulk(load) => load,
        }
    }
}

impl Load {
    /// How long is measured.
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
