//! consumer
use std::time::Duration;
use crate::received::{HandlerError, Received};
use futures::future::BoxFuture;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

/// What a handler returns.
pub type Handling<'a> = BoxFuture<'a, Result<(), HandlerError>>;

/// Which events a consumer handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// All.
    All,
    /// Those of these kinds, such as `wallet.credited`.
    Only(Vec<&'static str>),
}
/// consumer
#[derive(Clone, Debug)]
pub struct Consumer {
    /// group
    pub group: &'static str,
    /// sources
    pub sources: Vec<&'static str>,
    /// kinds
    pub kinds: Kinds,
    /// max
    pub max_attempts: u32,
    /// How many
    pub concurrency: usize,
    /// lease
    pub lease: Duration,
    /// prefix
    pub stream_prefix: String,
}
impl Consumer {
    /// new
    pub fn new(group: &'static str, sources: impl Into<Vec<&'static str>>, kinds: Kinds) -> Self {
        Self { group, sources: sources.into(), kinds, max_attempts: 8, concurrency: 4, lease: Duration::from_secs(10), stream_prefix: "bursar:events:".to_owned() }
    }
    /// run
    pub async fn run<H>(self, pool: PgPool, redis: redis::Client, handler: H, shutdown: CancellationToken)
    where H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync + 'static {
        let _ = (pool, redis, handler);
        shutdown.cancelled().await;
    }
}
