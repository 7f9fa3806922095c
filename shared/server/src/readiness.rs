//! Whether the service can do its work, asked of what it needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_auth::Verifier;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde::Serialize;
use sqlx::PgPool;
use tokio::sync::OnceCell;

/// How long a dependency may take to answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// How a dependency answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Dependency {
    pub(crate) name: &'static str,
    pub(crate) healthy: bool,
    /// True when the service cannot do its work without it.
    pub(crate) required: bool,
    pub(crate) latency_us: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

/// Asks the dependencies of one service.
#[derive(Clone)]
pub(crate) struct Readiness(Arc<Inner>);

struct Inner {
    pool: PgPool,
    redis: Option<(redis::Client, OnceCell<ConnectionManager>)>,
    verifier: Option<Verifier>,
}

impl Readiness {
    pub(crate) fn new(
        pool: PgPool,
        redis: Option<redis::Client>,
        verifier: Option<Verifier>,
    ) -> Self {
        Self(Arc::new(Inner {
            pool,
            redis: redis.map(|client| (client, OnceCell::new())),
            verifier,
        }))
    }

    /// Asks every dependency at once.
    pub(crate) async fn check(&self) -> Vec<Dependency> {
        let (database, redis, keys) =
            tokio::join!(self.check_database(), self.check_redis(), self.check_keys());
        [Some(database), redis, keys]
            .into_iter()
            .flatten()
            .collect()
    }

    async fn check_database(&self) -> Dependency {
        timed("postgresql", true, async {
            sqlx::query("SELECT 1")
                .execute(&self.0.pool)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        })
        .await
    }

    /// Redis carries events only: without it calls are served and events wait.
    async fn check_redis(&self) -> Option<Dependency> {
        let (client, connection) = self.0.redis.as_ref()?;
        let check = timed("redis", false, async {
            let connect = || {
                let config = ConnectionManagerConfig::new().set_number_of_retries(1);
                ConnectionManager::new_with_config(client.clone(), config)
            };
            let mut connection = connection
                .get_or_try_init(connect)
                .await
                .map_err(|error| error.to_string())?
                .clone();
            redis::cmd("PING")
                .query_async::<String>(&mut connection)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
        Some(check.await)
    }

    async fn check_keys(&self) -> Option<Dependency> {
        let verifier = self.0.verifier.as_ref()?;
        let check = timed("key_set", true, async {
            verifier
                .check_keys()
                .await
                .map_err(|error| error.to_string())
        });
        Some(check.await)
    }
}

/// True when nothing required is missing.
pub(crate) fn is_ready(dependencies: &[Dependency]) -> bool {
    dependencies
        .iter()
        .all(|dependency| dependency.healthy || !dependency.required)
}

async fn timed(
    name: &'static str,
    required: bool,
    check: impl Future<Output = Result<(), String>>,
) -> Dependency {
    let started = Instant::now();
    let outcome = tokio::time::timeout(CHECK_TIMEOUT, check)
        .await
        .unwrap_or_else(|_| Err("timeout".to_owned()));
    Dependency {
        name,
        healthy: outcome.is_ok(),
        required,
        latency_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        error: outcome.err().unwrap_or_default(),
    }
}
