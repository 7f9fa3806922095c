//! Finishes what is pending when its time has come.

use bursar_server::now;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{BATCH, next_turn};
use crate::api::announce;
use crate::error::ApiError;
use crate::store;

/// Runs until the process ends. A database that cannot be reached is tried
/// again at the next turn.
pub(crate) async fn run(
    pool: PgPool,
    tells: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    while next_turn(&shutdown).await {
        if let Err(error) = turn(&pool, tells).await {
            tracing::warn!(?error, "pending movements cannot be finished now");
        }
    }
    Ok(())
}

async fn turn(pool: &PgPool, tells: bool) -> Result<(), ApiError> {
    let mut transaction = pool.begin().await?;
    let finished = store::movements::settle_due(&mut transaction, now(), BATCH).await?;
    if tells {
        for movement in &finished {
            announce(&mut transaction, movement).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}
