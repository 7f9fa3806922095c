//! relay
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
/// relay
pub struct Relay { pool: PgPool, redis: redis::Client, source: String }
impl Relay {
    /// new
    pub fn new(pool: PgPool, redis: redis::Client, source: impl Into<String>) -> Self {
        Self { pool, redis, source: source.into() }
    }
    /// run
    pub async fn run(self, shutdown: CancellationToken) {
        let _ = (&self.pool, &self.redis, &self.source);
        shutdown.cancelled().await;
    }
}
