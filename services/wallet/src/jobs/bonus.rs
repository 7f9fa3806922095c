//! What becomes of bonus money by itself.
//!
//! | part | what it does |
//! |---|---|
//! | [`expiry`] | gives what is left of a grant whose time is over back to its campaign |
//! | [`conversion`] | converts grants that meet the rule of a campaign that converts by itself |
//! | [`refund`] | gives budget of ended campaigns back to the pool |
//!
//! Every replica does all of it. What is posted has an id that follows from what
//! it is about, so doing it twice does it once, and nobody holds a lock or a
//! lease. Each part looks at a bounded number of rows a turn and goes on after
//! them at the next, whatever became of them: a row that the ledger keeps
//! refusing is met again a round later and is in nobody's way.

pub mod conversion;
pub mod expiry;
pub mod refund;
pub(crate) mod spending;

use std::time::{Duration, Instant};

use bursar_server::crash_point;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use self::conversion::Conversion;
use self::expiry::Expiry;
use self::refund::Refund;
use super::queue::{Ledger, Order};
use crate::domain::batch::{Mode, Outcome};
use crate::domain::posting::{Posting, PostingId, RejectionReason};
use crate::error::Error;

/// How many rows one look takes, and how many looks a turn has at most. A look's
/// postings are one call of the ledger, small enough to share a batch.
const PAGE: i64 = 100;
const PAGES: usize = 10;
/// How long the ledger may take for a page.
const DEADLINE: Duration = Duration::from_secs(5);
/// Who is behind what the jobs post.
const ACTOR: &str = "service:wallet";

/// Runs until `shutdown`, resting for `interval` between two turns. What fails is
/// tried again a round later.
pub async fn run(
    pool: PgPool,
    ledger: Ledger,
    interval: Duration,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut expiry = Expiry::default();
    let mut conversion = Conversion::default();
    let mut refund = Refund::default();
    while !shutdown.is_cancelled() {
        report("expiry", expiry.turn(&pool, &ledger).await);
        report("conversion", conversion.turn(&pool, &ledger).await);
        report("refund", refund.turn(&pool, &ledger).await);
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

fn report(part: &'static str, done: Result<u64, Error>) {
    match done {
        Ok(0) => {}
        Ok(postings) => {
            metrics::counter!("bursar_bonus_job_postings_total", "part" => part)
                .increment(postings);
        }
        Err(error) => tracing::warn!(%error, part, "bonus money waits for the next turn"),
    }
}

/// Posts what a part found, each by itself; how many are in the ledger that were
/// not before.
async fn post(ledger: &Ledger, postings: Vec<Posting>) -> Result<u64, Error> {
    if postings.is_empty() {
        return Ok(0);
    }
    let ids: Vec<PostingId> = postings.iter().map(|posting| posting.id).collect();
    let order = Order {
        postings,
        mode: Mode::Independent,
        actor: ACTOR.to_owned(),
        deadline: Instant::now() + DEADLINE,
    };
    let mut applied = 0;
    let mut stuck = Vec::new();
    crash_point!("bonus_job.before_post");
    let outcomes = ledger.post(order).await?;
    crash_point!("bonus_job.after_post");
    for (id, outcome) in ids.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Applied(_) => applied += 1,
            Outcome::Replayed(_) => {}
            Outcome::Rejected(rejected) => match rejected.reason {
                // It changed since we looked, or somebody else was quicker.
                RejectionReason::GrantNotActive
                | RejectionReason::GrantMismatch
                | RejectionReason::InsufficientFunds
                | RejectionReason::PostingIdReused
                // A frozen wallet's grants are converted when it is unfrozen.
                | RejectionReason::WalletFrozen => {}
                reason => stuck.push((id, reason)),
            },
        }
    }
    if let Some((posting, reason)) = stuck.first() {
        let count = stuck.len();
        tracing::error!(%posting, ?reason, count, "bonus money cannot be posted");
    }
    Ok(applied)
}
