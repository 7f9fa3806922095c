//! What the service does besides answering calls.

pub mod bonus;
pub mod cleanup;
pub(crate) mod creation;
pub mod first_wallet;
pub mod hold_expiry;
pub mod invariant_sampler;
pub mod pace;
pub mod projector;
pub mod provider_accounts;
pub mod queue;
pub mod rebuild;
pub mod sealer;
pub mod writer;

use bursar_server::{Job, Start};

/// The jobs of what is derived from the ledger. With a share of 0 percent the
/// projections are left to other processes.
pub(crate) fn of_projections(start: &Start, percent: u32) -> Vec<Job> {
    let (pool, shutdown) = (&start.pool, &start.shutdown);
    let rebuild = rebuild::run(pool.clone(), shutdown.clone());
    let sampler = invariant_sampler::run(pool.clone(), shutdown.clone());
    let mut jobs = vec![
        Job::new("rebuilds", rebuild),
        Job::new("invariant sampler", sampler),
    ];
    if percent > 0 {
        let projector = projector::run(pool.clone(), percent, shutdown.clone());
        jobs.push(Job::new("projector", projector));
    }
    jobs
}
