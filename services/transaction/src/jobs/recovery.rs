//! Recovery: moves on what a live request has left.
//!
//! Work is found by its due check only, so the cost is what is stuck, not what
//! is there. A check is claimed with SKIP LOCKED under a lease with a fencing
//! epoch; the run is the same loop as a live request's. It resumes or asks; it
//! never reverses on suspicion.

use std::time::{Duration, Instant};

use bursar_server::{crash_point, now};
use bursar_status::correlation::{self, CorrelationId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::advance::{Engine, Run};
use crate::config::RecoverySettings;
use crate::error::Error;
use crate::store::checks::{self, Lease};
use crate::watch;

/// How long one run may take.
const RUN_TIME: Duration = Duration::from_secs(8);
/// How long its lease lasts: longer than the run, so that only a process that
/// stood still is overtaken.
const LEASE_TIME: Duration = Duration::from_secs(10);
/// How often what is under way is counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);
/// Who is told to have caused what recovery does.
const ACTOR: &str = "service:transaction";

/// Runs until the process ends. Then no new check is claimed, and runs under
/// way stop as soon as they may and give their leases back.
pub(crate) async fn run(
    engine: Engine,
    settings: RecoverySettings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    let mut counted_at: Option<Instant> = None;
    while !shutdown.is_cancelled() {
        match claim(&engine, settings.concurrency.saturating_sub(running.len())).await {
            Ok(leases) => {
                for lease in leases {
                    crash_point!("recovery.after_claim");
                    running.spawn(recover(engine.clone(), lease, shutdown.clone()));
                }
            }
            Err(error) => tracing::warn!(%error, "checks that are due cannot be claimed now"),
        }
        if counted_at.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL) {
            counted_at = Some(Instant::now());
            if let Err(error) = count(&engine).await {
                tracing::warn!(%error, "what is under way cannot be counted now");
            }
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
    checks::take_due(&mut conn, engine.holder, LEASE_TIME, limit).await
}

async fn count(engine: &Engine) -> Result<(), sqlx::Error> {
    let mut conn = engine.pool.acquire().await?;
    watch::under_way(&checks::count(&mut conn).await?, now());
    Ok(())
}

/// Moves one transaction on, under the correlation id of its first request.
#[tracing::instrument(name = "recovery.recover", skip_all)]
async fn recover(engine: Engine, lease: Lease, stop: CancellationToken) {
    let id = lease.transaction;
    let correlation = lease
        .correlation
        .clone()
        .unwrap_or_else(CorrelationId::generate);
    let before = Instant::now();
    match correlation::scope(correlation, resume(&engine, lease, stop)).await {
        Ok(state) => tracing::info!(
            transaction_id = %id,
            state,
            took_ms = before.elapsed().as_millis(),
            "checked"
        ),
        // Another run has it; a lease that is left behind lapses.
        Err(Error::Superseded { .. }) => tracing::info!(transaction_id = %id, "overtaken"),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(transaction_id = %id, error, "the check failed; it is made again");
        }
    }
}

async fn resume(
    engine: &Engine,
    lease: Lease,
    stop: CancellationToken,
) -> Result<&'static str, Error> {
    let run = Run {
        stored: engine.load(lease.transaction).await?,
        lease,
        actor: ACTOR.to_owned(),
        // The request that was here before may have sent what it could not finish.
        loose_end: true,
        freeze: None,
        deadline: Instant::now() + RUN_TIME,
        stop,
    };
    crash_point!("recovery.before_resume");
    let ended = engine.resume(run).await?;
    crash_point!("recovery.after_resume");
    Ok(ended.transaction.state.name())
}
