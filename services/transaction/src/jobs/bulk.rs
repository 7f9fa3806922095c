//! Moves on the bulk transfers that a live request has left.
//!
//! It works as the recovery of single transactions does, on checks of its own: a
//! bulk transfer is resumed as the whole that it was sent as.

use std::time::{Duration, Instant};

use bursar_status::correlation::{self, CorrelationId};
use metrics::gauge;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

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

/// Runs until the process ends. Then no new check is claimed, and runs under way
/// stop as soon as they may and give their leases back.
pub(crate) async fn run(
    engine: Engine,
    settings: RecoverySettings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    while !shutdown.is_cancelled() {
        match claim(&engine, CONCURRENCY.saturating_sub(running.len())).await {
            Ok(leases) => {
                for lease in leases {
                    running.spawn(recover(engine.clone(), lease, shutdown.clone()));
                }
            }
            Err(error) => tracing::warn!(%error, "bulk transfers that are due cannot be claimed"),
        }
        tokio::select! {
            () = tokio::time::sleep(settings.interval) => {}
            Some(_) = running.join_next() => {}
            () = shutdown.cancelled() => {}
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn claim(engine: &Engine, free: usize) -> Result<Vec<Lease>, sqlx::Error> {
    let limit = i64::try_from(free).unwrap_or(i64::MAX);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut conn = engine.pool.acquire().await?;
    let under_way = bulk_checks::count(&mut conn).await?;
    gauge!("bursar_bulk_transfers_under_way").set(u32::try_from(under_way).unwrap_or(u32::MAX));
    bulk_checks::take_due(&mut conn, engine.holder, LEASE_TIME, limit).await
}

/// Moves one bulk transfer on, under the correlation id of its first request.
#[tracing::instrument(name = "recovery.recover_bulk", skip_all)]
async fn recover(engine: Engine, lease: Lease, stop: CancellationToken) {
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
    let ended = engine.advance_bulk(run).await?;
    Ok(ended.bulk.is_over())
}
