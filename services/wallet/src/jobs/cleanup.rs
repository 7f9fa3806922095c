//! Deletes idempotency keys whose day has passed.

use std::time::Duration;

use bursar_aip::idempotency;
use bursar_server::{crash_point, now};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(600);
/// How many keys one statement deletes, so that none holds its locks for long.
const BATCH: u32 = 1_000;

/// Runs until `shutdown`. What cannot be deleted now is deleted an interval
/// later; nothing but space is lost meanwhile.
pub async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    while !shutdown.is_cancelled() {
        if let Err(error) = delete_expired(&pool, &shutdown).await {
            tracing::warn!(%error, "expired idempotency keys stay for now");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// Deletes batch by batch until one is not full.
async fn delete_expired(pool: &PgPool, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
    while !shutdown.is_cancelled() {
        let mut connection = pool.acquire().await?;
        crash_point!("cleanup.before_delete");
        let deleted = idempotency::delete_expired(&mut connection, now(), i64::from(BATCH)).await?;
        crash_point!("cleanup.after_delete");
        if deleted < u64::from(BATCH) {
            break;
        }
    }
    Ok(())
}
