//! Matches callbacks that came before their transaction was committed.

use std::time::Duration;

use bursar_server::crash_point;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::next_turn;
use crate::store::callbacks;

/// How often unmatched callbacks are looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// How many are looked at in a turn.
const BATCH: i64 = 500;

/// Runs until the process ends.
pub(crate) async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    while next_turn(INTERVAL, &shutdown).await {
        match turn(&pool).await {
            Ok(0) => {}
            Ok(matched) => tracing::info!(matched, "callbacks were matched later"),
            Err(error) => tracing::warn!(%error, "callbacks cannot be matched now"),
        }
    }
    Ok(())
}

async fn turn(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let matched = callbacks::match_later(&mut transaction, BATCH).await?;
    crash_point!("callbacks.before_match_commit");
    transaction.commit().await?;
    crash_point!("callbacks.after_match_commit");
    Ok(matched)
}
