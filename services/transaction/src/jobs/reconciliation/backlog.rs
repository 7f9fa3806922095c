//! Shows what waits for reconciliation and for people, whether or not this process has
//! anything to match.

use std::time::Duration;

use bursar_server::now;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::jobs::next_turn;
use crate::store::reconciliation::report;
use crate::watch;

/// How often it is counted.
const INTERVAL: Duration = Duration::from_secs(15);

/// Counts until the process ends.
pub(crate) async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        if let Err(error) = show(&pool).await {
            tracing::warn!(%error, "the backlog of reconciliation is not counted");
        }
        if !next_turn(INTERVAL, &shutdown).await {
            return Ok(());
        }
    }
}

async fn show(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let backlog = report::backlog(&mut conn).await?;
    watch::reconciliation::backlog(&backlog, now());
    Ok(())
}
