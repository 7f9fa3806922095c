//! Moves on the bulk transfers that a live request has left.
//!
//! It works as the recovery of single transactions does, on checks of its own: a
//! bulk transfer is resumed as the whole that it was sent as.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_server::crash_point;
use bursar_status::correlation::{self, CorrelationId};
use metrics::gauge;
use tokio_util::sync::CancellationToken;

use super::due::{self, DueWork};
use crate::advance::Engine;
use crate::bulk::error::Error;
use crate::config::RecoverySettings;
use crate::store::bulk_checks::{self, Lease};

/// How long one run may take.
const RUN_TIME: Duration = Duration::from_secs(20);
/// How long its lease lasts: longer than the run, so that only a process that
/// stood still is overtaken.
const LEASE_TIME: Duration = Duration::from_secs(25);
/// How many are worked on at once. Each is up to a thousand transfers.
const CONCURRENCY: usize = 2;
/// Who is told to have caused what recovery does.
const ACTOR: &str = "service:transaction";

/// Runs until the process ends.
pub(crate) async fn run(
    engine: Engine,
    settings: RecoverySettings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    due::run(Bulks { engine }, settings.interval, shutdown).await
}

/// The bulk transfers whose check is due.
struct Bulks {
    engine: Engine,
}

impl DueWork for Bulks {
    type Lease = Lease;

    const WHAT: &'static str = "bulk transfers";

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    async fn claim(&self, limit: i64) -> Result<Vec<Lease>, sqlx::Error> {
        let mut conn = self.engine.pool.acquire().await?;
        crash_point!("bulk.before_claim");
        bulk_checks::take_due(&mut conn, self.engine.holder, LEASE_TIME, limit).await
    }

    async fn work(self: Arc<Self>, lease: Lease, stop: CancellationToken) {
        recover(self.engine.clone(), lease, stop).await;
    }

    async fn count(&self) -> Result<(), sqlx::Error> {
        let mut conn = self.engine.pool.acquire().await?;
        let under_way = bulk_checks::count(&mut conn).await?;
        gauge!("bursar_bulk_transfers_under_way").set(u32::try_from(under_way).unwrap_or(u32::MAX));
        Ok(())
    }
}

/// Moves one bulk transfer on, under the correlation id of its first request.
#[tracing::instrument(name = "recovery.recover_bulk", skip_all)]
async fn recover(engine: Engine, lease: Lease, stop: CancellationToken) {
    crash_point!("bulk.after_claim");
    let id = lease.bulk;
    let correlation = lease
        .correlation
        .clone()
        .unwrap_or_else(CorrelationId::generate);
    match correlation::scope(correlation, resume(&engine, lease, stop)).await {
        Ok(is_over) => tracing::info!(bulk_transfer_id = %id, is_over, "checked"),
        // Another run has it; a lease that is left behind lapses.
        Err(Error::Superseded { .. }) => tracing::info!(bulk_transfer_id = %id, "overtaken"),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(bulk_transfer_id = %id, error, "the check failed; it is made again");
        }
    }
}

async fn resume(engine: &Engine, lease: Lease, stop: CancellationToken) -> Result<bool, Error> {
    let deadline = Instant::now() + RUN_TIME;
    let run = engine
        .load_bulk(lease, ACTOR.to_owned(), None, deadline, stop)
        .await?;
    crash_point!("bulk.before_resume");
    let ended = engine.advance_bulk(run).await?;
    crash_point!("bulk.after_resume");
    Ok(ended.bulk.is_over())
}
