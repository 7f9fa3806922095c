//! Deletes idempotency keys, quotes that nobody has used, and what was used of limits,
//! whose time is over.

use std::time::Duration;

use bursar_aip::idempotency;
use bursar_server::{crash_point, now};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::next_turn;
use crate::limits::USAGE_KEPT;
use crate::store::{limits, quotes};

/// How often expired keys are looked for.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long a quote is kept after it has expired, so that who comes late is told so.
const QUOTES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How many go in one statement.
const BATCH: i64 = 1000;
/// How many statements a turn makes at most.
const MAX_BATCHES: usize = 100;

/// Runs until the process ends.
pub(crate) async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    while next_turn(INTERVAL, &shutdown).await {
        if let Err(error) = turn(&pool, &shutdown).await {
            tracing::warn!(%error, "what has expired cannot be deleted now");
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
        if is_last(deleted) || shutdown.is_cancelled() {
            break;
        }
    }
    for _ in 0..MAX_BATCHES {
        let mut conn = pool.acquire().await?;
        let before = (now() - USAGE_KEPT).date();
        crash_point!("cleanup.before_usage_delete");
        let deleted = limits::delete_old(&mut conn, before, BATCH).await?;
        crash_point!("cleanup.after_usage_delete");
        if is_last(deleted) || shutdown.is_cancelled() {
            break;
        }
    }
    for _ in 0..MAX_BATCHES {
        let mut conn = pool.acquire().await?;
        crash_point!("cleanup.before_quotes_delete");
        let deleted = quotes::delete_unused(&mut conn, now() - QUOTES_KEPT, BATCH).await?;
        crash_point!("cleanup.after_quotes_delete");
        if is_last(deleted) || shutdown.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// Whether a statement that deleted so many has left nothing.
fn is_last(deleted: u64) -> bool {
    i64::try_from(deleted).is_ok_and(|deleted| deleted < BATCH)
}
