//! Deletes idempotency keys whose time is over.

use std::time::Duration;

use bursar_aip::idempotency;
use bursar_server::{crash_point, now};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::next_turn;

/// How often expired keys are looked for.
const INTERVAL: Duration = Duration::from_secs(60);
/// How many go in one statement.
const BATCH: i64 = 1000;
/// How many statements a turn makes at most.
const MAX_BATCHES: usize = 100;

/// Runs until the process ends.
pub(crate) async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    while next_turn(INTERVAL, &shutdown).await {
        if let Err(error) = turn(&pool, &shutdown).await {
            tracing::warn!(%error, "expired idempotency keys cannot be deleted now");
        }
    }
    Ok(())
}

async fn turn(pool: &PgPool, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
    for _ in 0..MAX_BATCHES {
        let mut conn = pool.acquire().await?;
        crash_point!("cleanup.before_delete");
        let deleted = idempotency::delete_expired(&mut conn, now(), BATCH).await?;
        crash_point!("cleanup.after_delete");
        if i64::try_from(deleted).is_ok_and(|deleted| deleted < BATCH) || shutdown.is_cancelled() {
            break;
        }
    }
    Ok(())
}
