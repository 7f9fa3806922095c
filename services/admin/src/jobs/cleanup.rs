//! Deletes idempotency keys whose day has passed.

use std::time::Duration;

use bursar_aip::idempotency;
use bursar_server::now;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(600);
/// How many keys one statement deletes, so that none holds its locks for long.
const BATCH: u64 = 1_000;

/// Runs until `shutdown`. A database that does not answer is met again at the
/// next interval; nothing but space is lost meanwhile.
pub(crate) async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        if let Err(error) = delete_expired(&pool, &shutdown).await {
            tracing::warn!(%error, "expired idempotency keys stay for now");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// Deletes batch by batch until one is not full.
async fn delete_expired(pool: &PgPool, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
    let limit = i64::try_from(BATCH).expect("a batch is small");
    while !shutdown.is_cancelled() {
        let mut connection = pool.acquire().await?;
        if idempotency::delete_expired(&mut connection, now(), limit).await? < BATCH {
            break;
        }
    }
    Ok(())
}
