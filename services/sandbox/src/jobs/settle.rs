//! Does what is due when its time has come.

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::next_turn;
use crate::due;
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
            tracing::warn!(?error, "what is due cannot be finished now");
        }
    }
    Ok(())
}

async fn turn(pool: &PgPool, tells: bool) -> Result<(), ApiError> {
    let mut transaction = pool.begin().await?;
    let clock = store::clock::now(&mut transaction).await?;
    due::finish(&mut transaction, clock, tells).await?;
    transaction.commit().await?;
    Ok(())
}
