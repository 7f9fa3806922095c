//! The loop of the jobs that work on what is due.
//!
//! Work is found by its check only, so the cost is what is due, not what is there. A
//! check is claimed with SKIP LOCKED under a lease with a fencing epoch, and so many are
//! worked on at once as the job allows. When the process ends no new check is claimed,
//! and work under way stops as soon as it may and gives its lease back.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often what is under way is counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// A kind of work that is found when it is due.
pub(super) trait DueWork: Send + Sync + 'static {
    /// The right to work on one.
    type Lease: Send + 'static;

    /// What is worked on, for the log.
    const WHAT: &'static str;

    /// How many are worked on at once.
    fn concurrency(&self) -> usize;

    /// Takes the leases of at most so many that are due.
    fn claim(
        &self,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Self::Lease>, sqlx::Error>> + Send;

    /// Works on one and tells the log what came of it. A lease that is left behind
    /// lapses.
    fn work(
        self: Arc<Self>,
        lease: Self::Lease,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Tells the metrics what is under way.
    fn count(&self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Runs until the process ends.
pub(super) async fn run<W: DueWork>(
    work: W,
    interval: Duration,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let work = Arc::new(work);
    let mut running = JoinSet::new();
    let mut counted_at: Option<Instant> = None;
    while !shutdown.is_cancelled() {
        match claim(&*work, running.len()).await {
            Ok(leases) => {
                for lease in leases {
                    running.spawn(Arc::clone(&work).work(lease, shutdown.clone()));
                }
            }
            Err(error) => tracing::warn!(%error, "{} that are due cannot be claimed", W::WHAT),
        }
        if counted_at.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL) {
            counted_at = Some(Instant::now());
            if let Err(error) = work.count().await {
                tracing::warn!(%error, "{} under way cannot be counted now", W::WHAT);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            Some(_) = running.join_next() => {}
            () = shutdown.cancelled() => {}
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn claim<W: DueWork>(work: &W, running: usize) -> Result<Vec<W::Lease>, sqlx::Error> {
    let free = work.concurrency().saturating_sub(running);
    match i64::try_from(free) {
        Ok(0) => Ok(Vec::new()),
        free => work.claim(free.unwrap_or(i64::MAX)).await,
    }
}
