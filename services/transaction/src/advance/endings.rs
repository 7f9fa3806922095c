//! The ends of transfers, many in one commit.
//!
//! A transfer that nothing came between has two events: it was recorded, and this is
//! how it ended. So its end is the same few statements for every transfer, and one
//! database transaction takes those of all that end at the moment:
//!
//! ```text
//! BEGIN
//! DELETE FROM transaction_checks …   by their leases: who lost its lease is left out
//! UPDATE transactions …
//! INSERT INTO event_batches …
//! UPDATE idempotency_keys …          the answers
//! UPDATE limit_usage …               what the failed ones had reserved
//! COMMIT
//! ```
//!
//! What a batch cannot write, each run writes by itself.

use bursar_aip::idempotency::{self, Answer};
use bursar_events::Event as LoggedEvent;
use bursar_server::{crash_point, database};
use sqlx::PgPool;

use super::{Freeze, Run};
use crate::domain::{Movement, State, Step};
use crate::group::{self, Crowd, Group, Piece};
use crate::limits;
use crate::store::bulk_rows;
use crate::store::checks::{self, Lease};
use crate::store::events::{self, EventBatch, Told};
use crate::store::transactions::Stored;

/// How one transfer ended.
struct Ending {
    lease: Lease,
    after: Stored,
    logged: Vec<LoggedEvent>,
    answer: Option<(Freeze, Answer)>,
}

/// What became of writing an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is written.
    Now {
        /// Whether the answer is kept, if one was to be.
        is_kept: bool,
    },
    /// It is not, because the lease is somebody else's by now.
    Superseded,
    /// It may not be.
    Perhaps,
}

/// The way into the commits.
#[derive(Clone)]
pub(crate) struct Endings(Group<Ending, Written>);

/// The way into the commits, and the work that makes them.
pub(crate) fn endings(
    pool: PgPool,
    crowd: &Crowd,
) -> (
    Endings,
    impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    let (group, inbox) = group::queue(crowd);
    let writing = inbox.serve(move |pieces| write(pool.clone(), pieces));
    (Endings(group), writing)
}

impl Endings {
    /// Whether a step is such an end.
    pub(super) fn take(run: &Run, step: &Step) -> bool {
        let before = &run.stored.transaction;
        matches!(before.movement, Movement::Transfer { .. })
            && before.state == State::Pending
            && before.version == 1
            && step.events.len() == 1
            && step.transaction.state.is_at_rest()
    }

    /// Writes the end of a run with those of others.
    pub(super) async fn write(&self, run: &Run, step: &Step) -> Written {
        let after = Stored {
            transaction: step.transaction.clone(),
            ..run.stored.clone()
        };
        let told = Told {
            stored: &after,
            events: &step.events,
            actor: &run.actor,
        };
        let answer = run.freeze.as_ref().and_then(|freeze| {
            let answer = freeze.answer(&after)?;
            Some((freeze.clone(), answer))
        });
        let ending = Ending {
            lease: run.lease.clone(),
            logged: events::encode(told),
            answer,
            after,
        };
        self.0.join(ending).await.unwrap_or(Written::Perhaps)
    }
}

#[tracing::instrument(name = "transfers.end", skip_all, fields(transfers = pieces.len()))]
async fn write(pool: PgPool, pieces: Vec<Piece<Ending>>) -> Vec<Written> {
    let endings: Vec<Ending> = pieces.into_iter().map(|piece| piece.work).collect();
    match try_write(&pool, &endings).await {
        Ok(written) => written,
        Err(error) => {
            tracing::warn!(%error, transfers = endings.len(), "the ends are written one by one");
            vec![Written::Perhaps; endings.len()]
        }
    }
}

/// Writes the ends whose lease is still their run's.
async fn try_write(pool: &PgPool, endings: &[Ending]) -> Result<Vec<Written>, sqlx::Error> {
    let mut database = database::begin(pool).await?;
    let leases: Vec<&Lease> = endings.iter().map(|ending| &ending.lease).collect();
    let are_ours = checks::remove_all(&mut database, &leases).await?;
    let ours: Vec<&Ending> = endings
        .iter()
        .zip(&are_ours)
        .filter_map(|(ending, is_ours)| is_ours.then_some(ending))
        .collect();
    let transactions: Vec<_> = ours.iter().map(|one| &one.after.transaction).collect();
    let batch = EventBatch::new();
    if !bulk_rows::update(&mut database, &transactions, &batch).await? {
        // Somebody turned a row without its lease, which no code does.
        return Err(sqlx::Error::RowNotFound);
    }
    let logged: Vec<LoggedEvent> = ours.iter().flat_map(|one| one.logged.clone()).collect();
    batch.append_encoded(&mut database, &logged).await?;
    let answers: Vec<_> = ours
        .iter()
        .filter_map(|one| one.answer.as_ref())
        .map(|(freeze, answer)| (freeze.scope(), answer))
        .collect();
    // A key that was answered or deleted meanwhile keeps no answer. The outcome counts
    // all the same.
    let mut are_kept = idempotency::complete_all(&mut database, &answers)
        .await?
        .into_iter();
    limits::release(&mut database, transactions).await?;
    crash_point!("endings.before_commit");
    database.commit().await?;
    crash_point!("endings.after_commit");
    let written = |(ending, is_ours): (&Ending, bool)| match (is_ours, &ending.answer) {
        (false, _) => Written::Superseded,
        (true, None) => Written::Now { is_kept: true },
        (true, Some(_)) => Written::Now {
            is_kept: are_kept.next().unwrap_or_default(),
        },
    };
    Ok(endings.iter().zip(are_ours).map(written).collect())
}
