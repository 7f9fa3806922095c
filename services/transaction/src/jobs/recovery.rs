//! Recovery: moves on what a live request has left.
//!
//! The run is the same loop as a live request's. It resumes or asks; it never
//! reverses on suspicion.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_server::{crash_point, now};
use bursar_status::correlation::{self, CorrelationId};
use tokio_util::sync::CancellationToken;

use super::due::{self, DueWork};
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
/// Who is told to have caused what recovery does.
const ACTOR: &str = "service:transaction";

/// Runs until the process ends.
pub(crate) async fn run(
    engine: Engine,
    settings: RecoverySettings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let work = Recovery {
        engine,
        concurrency: settings.concurrency,
    };
    due::run(work, settings.interval, shutdown).await
}

/// The transactions whose check is due.
struct Recovery {
    engine: Engine,
    concurrency: usize,
}

impl DueWork for Recovery {
    type Lease = Lease;

    const WHAT: &'static str = "transactions";

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn claim(&self, limit: i64) -> Result<Vec<Lease>, sqlx::Error> {
        let mut conn = self.engine.pool.acquire().await?;
        crash_point!("recovery.before_claim");
        checks::take_due(&mut conn, self.engine.holder, LEASE_TIME, limit).await
    }

    async fn work(self: Arc<Self>, lease: Lease, stop: CancellationToken) {
        recover(self.engine.clone(), lease, stop).await;
    }

    async fn count(&self) -> Result<(), sqlx::Error> {
        let mut conn = self.engine.pool.acquire().await?;
        watch::under_way(&checks::count(&mut conn).await?, now());
        Ok(())
    }
}

/// Moves one transaction on, under the correlation id of its first request.
#[tracing::instrument(name = "recovery.recover", skip_all)]
async fn recover(engine: Engine, lease: Lease, stop: CancellationToken) {
    crash_point!("recovery.after_claim");
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
    Ok(ended.stored.transaction.state.name())
}
