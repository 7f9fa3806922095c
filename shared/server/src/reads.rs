//! Where lists are read from: a replica of the database when there is one, the
//! database itself otherwise.
//!
//! A replica may be behind, so it serves lists and nothing else: no decision
//! rests on it. It may also be gone; then the database is asked at once, and the
//! replica again a moment later.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

use crate::now;

/// How long a replica is left alone after it failed, in milliseconds.
const REST_MS: i64 = 1_000;
/// How long a list waits for a connection to a replica.
pub(crate) const REPLICA_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(250);

/// Connections for lists. Cheap to clone.
#[derive(Clone)]
pub struct Reads {
    database: PgPool,
    replica: Option<PgPool>,
    /// When the replica is asked again, in milliseconds of the Unix epoch.
    rests_until_ms: Arc<AtomicI64>,
}

impl Reads {
    /// Reads from the replica, if there is one.
    pub fn new(database: PgPool, replica: Option<PgPool>) -> Self {
        Self {
            database,
            replica,
            rests_until_ms: Arc::new(AtomicI64::new(i64::MIN)),
        }
    }

    /// A connection for a list that may be a little behind.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        if let Some(replica) = self.awake_replica() {
            match replica.acquire().await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::warn!(%error, "the replica does not answer; lists come from the database");
                    self.rests_until_ms
                        .store(now_ms().saturating_add(REST_MS), Ordering::Relaxed);
                }
            }
        }
        self.database.acquire().await
    }

    /// A connection for what a list did not find: a replica may not have it yet.
    /// `None` when [`Reads::acquire`] gives the same database.
    pub async fn acquire_current(&self) -> Result<Option<PoolConnection<Postgres>>, sqlx::Error> {
        match self.replica {
            Some(_) => self.database.acquire().await.map(Some),
            None => Ok(None),
        }
    }

    fn awake_replica(&self) -> Option<&PgPool> {
        self.replica
            .as_ref()
            .filter(|_| self.rests_until_ms.load(Ordering::Relaxed) <= now_ms())
    }

    pub(crate) async fn close(&self) {
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
    }
}

fn now_ms() -> i64 {
    i64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
