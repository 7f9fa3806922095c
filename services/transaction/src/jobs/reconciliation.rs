//! Reconciliation in the background.
//!
//! One loop matches the files whose lines count; [`intake`] reads files as they
//! come and wakes it. Another reads the providers' lists of movements once a
//! night ([`nightly`]). Both work under leases on the rows of files, on the
//! database's clock, so that of all instances one does each piece of work, and
//! one that stood still cannot write once another has taken over. A third loop, in
//! every instance, shows operators what waits ([`backlog`]).

pub(crate) mod backlog;
pub(crate) mod intake;
pub(crate) mod nightly;
mod page;
mod run;

use std::sync::Arc;
use std::time::Duration;

use bursar_server::crash_point;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::reconciliation::{lines, work};

/// How often files are looked for that nobody has announced.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a lease lasts without a sign of life.
const LEASE: Duration = Duration::from_secs(60);
/// How many files that died are given up at once.
const LAPSED_BATCH: i64 = 100;
/// How many lines of failed files go in one statement.
const PURGE_BATCH: i64 = 5_000;

/// Tells the matcher that there is something to match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake(Arc<Notify>);

impl Wake {
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }
}

/// Matches files until the process ends.
pub(crate) async fn run(
    pool: PgPool,
    wake: Wake,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    while !shutdown.is_cancelled() {
        match turn(&pool, &shutdown).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "settlement cannot be matched now"),
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = wake.0.notified() => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// Does one piece of work; false when there is none.
async fn turn(pool: &PgPool, shutdown: &CancellationToken) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let claimed = work::claim(&mut transaction, LEASE).await?;
    crash_point!("matching.before_claim_commit");
    transaction.commit().await?;
    crash_point!("matching.after_claim_commit");
    if let Some(lease) = claimed {
        match run::reconcile_file(pool, lease, shutdown).await? {
            run::Ended::Reconciled => {
                tracing::info!(settlement_file_id = %lease.file, "a settlement is reconciled");
            }
            run::Ended::Stopped => {}
            run::Ended::Superseded => {
                tracing::info!(settlement_file_id = %lease.file, "overtaken");
            }
        }
        return Ok(true);
    }
    clean_up(pool).await
}

/// Gives up the files whose readers died, and deletes lines that never counted.
async fn clean_up(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let lapsed = work::fail_lapsed(&mut transaction, LAPSED_BATCH).await?;
    crash_point!("matching.before_lapse_commit");
    transaction.commit().await?;
    crash_point!("matching.after_lapse_commit");
    if lapsed > 0 {
        tracing::warn!(lapsed, "settlement files were not read to their ends");
    }
    let mut transaction = pool.begin().await?;
    let has_purged = lines::purge(&mut transaction, PURGE_BATCH).await?;
    crash_point!("matching.before_purge_commit");
    transaction.commit().await?;
    crash_point!("matching.after_purge_commit");
    Ok(lapsed > 0 || has_purged)
}
