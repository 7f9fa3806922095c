//! The run of a bulk transfer: ask the ledger, commit, until all its transfers are
//! at rest. Live requests and recovery both run it.
//!
//! A run owns a lease, as for single transactions: every write of it is one
//! database transaction that is bound to the lease's epoch, and to the versions of
//! the transactions that it turns.

use std::time::{Duration, Instant};

use bursar_aip::idempotency::{self, Answer};
use bursar_server::{crash_point, database, now};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::decide::{Next, Stage, decide, next_call};
use super::error::Error;
use super::{Bulk, Item, ItemResult, Mode, answer};
use crate::advance::{Engine, Freeze};
use crate::domain::{Command, Event, Input, Note, Posting, Refusal, Terms, Transaction, step};
use crate::ledger::{BatchReply, Together};
use crate::limits;
use crate::store::bulk_checks::{self, Lease};
use crate::store::events::{EventBatch, Told};
use crate::store::transactions::Stored;
use crate::store::{bulk, bulk_rows};
use crate::watch;

/// Left of a run's time for committing what a call has brought.
const COMMIT_MARGIN: Duration = Duration::from_secs(1);
/// How many calls of the ledger one run may make: the transfers, the bars, and the
/// transfers again where a bar came too late.
const MAX_CALLS: usize = 4;
/// The first and the longest wait for the next check.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The terms of no provider, for none takes part in a transfer.
const NO_TERMS: Terms = Terms {
    lookup_window: Duration::ZERO,
    give_up_after: Duration::MAX,
};

/// One run of one bulk transfer.
pub(crate) struct BulkRun {
    /// The bulk transfer as this run knows it.
    pub(crate) bulk: Bulk,
    /// Its transfers that were under way when the run began, in order.
    pub(crate) items: Vec<Item>,
    /// The results of its other transfers.
    pub(crate) settled: Vec<ItemResult>,
    /// The right to write.
    pub(crate) lease: Lease,
    /// Who is told to have caused what happens.
    pub(crate) actor: String,
    /// True when an attempt may be under way that this run does not know of, or
    /// has lost sight of.
    pub(crate) loose_end: bool,
    /// Where the answer is kept, when a caller waits for it.
    pub(crate) freeze: Option<Freeze>,
    /// When the run must have ended.
    pub(crate) deadline: Instant,
    /// Ends the run early.
    pub(crate) stop: CancellationToken,
}

/// What one answer of the ledger changes.
struct Change {
    bulk: Bulk,
    /// The transfers that were asked for, after it.
    items: Vec<(usize, Item)>,
    /// The event of each transfer that is at rest by it.
    told: Vec<(Stored, Event)>,
    /// The refusals that are new, or taken back.
    notes: Vec<(i32, Option<Refusal>)>,
}

impl Engine {
    /// A run of a bulk transfer from where its rows say it is. Only for whoever
    /// holds the lease.
    pub(crate) async fn load_bulk(
        &self,
        lease: Lease,
        actor: String,
        freeze: Option<Freeze>,
        deadline: Instant,
        stop: CancellationToken,
    ) -> Result<BulkRun, Error> {
        let mut conn = self.pool.acquire().await?;
        let found = bulk::find(&mut conn, lease.bulk).await?;
        let found = found.ok_or(Error::NotFound)?;
        let items = bulk::pending(&mut conn, &found).await?;
        let limit = i64::from(found.transfers);
        let mut settled = bulk::results(&mut conn, &found.tenant, found.id, 0, limit).await?;
        settled.retain(|result| items.iter().all(|item| item.position != result.position));
        let under_way = found.transfers - found.counts.total();
        if i32::try_from(items.len()).ok() != Some(under_way) {
            return Err(Error::Damaged { bulk: found.id });
        }
        Ok(BulkRun {
            bulk: found,
            items,
            settled,
            lease,
            actor,
            // The run that was here before may have sent what it could not finish.
            loose_end: true,
            freeze,
            deadline,
            stop,
        })
    }

    /// Runs a bulk transfer until it is over or the ledger does not answer in time,
    /// and returns where it is. Its lease is given back or gone with its check.
    pub(crate) async fn advance_bulk(&self, mut run: BulkRun) -> Result<BulkRun, Error> {
        for _ in 0..MAX_CALLS {
            if run.bulk.is_over() {
                return Ok(run);
            }
            let (stage, asked) = next_call(run.bulk.mode, &run.items);
            let Some(replies) = self.call(&mut run, stage, &asked).await? else {
                break;
            };
            crash_point!("bulk.after_post");
            let change = run.take_in(stage, &asked, &replies)?;
            self.commit(&mut run, change).await?;
            crash_point!("bulk.after_outcome_commit");
        }
        if !run.bulk.is_over() {
            self.give_back(&run).await?;
        }
        Ok(run)
    }

    /// Asks the ledger; `None` when it has not answered in time.
    async fn call(
        &self,
        run: &mut BulkRun,
        stage: Stage,
        asked: &[usize],
    ) -> Result<Option<Vec<BatchReply>>, Error> {
        let Some(deadline) = run.deadline.checked_sub(COMMIT_MARGIN) else {
            return Ok(None);
        };
        let postings = run.postings(stage, asked)?;
        let together = match run.bulk.mode {
            Mode::Atomic => Together::Yes,
            Mode::Independent => Together::No,
        };
        let stop = run.stop.clone();
        crash_point!("bulk.before_post");
        tokio::select! {
            attempted = self.ledger.post_all(&postings, together, deadline) => {
                run.loose_end |= attempted.loose_end;
                Ok(attempted.replies)
            }
            // Left under way; whoever goes on repeats it.
            () = stop.cancelled() => {
                run.loose_end = true;
                Ok(None)
            }
        }
    }

    /// Commits what an answer changes, and the caller's answer with the last of it.
    async fn commit(&self, run: &mut BulkRun, change: Change) -> Result<(), Error> {
        if let Err(error) = self.try_commit(run, &change).await {
            // The caller's key was answered or deleted meanwhile. The outcome counts all
            // the same.
            if !matches!(error, Error::Database(sqlx::Error::RowNotFound)) || run.freeze.is_none() {
                return Err(error);
            }
            run.freeze = None;
            self.try_commit(run, &change).await?;
        }
        for (stored, _) in &change.told {
            watch::moved(&stored.transaction);
        }
        run.bulk = change.bulk;
        for (index, item) in change.items {
            run.items[index] = item;
        }
        Ok(())
    }

    async fn try_commit(&self, run: &BulkRun, change: &Change) -> Result<(), Error> {
        let mut database = database::begin(&self.bulks).await?;
        let is_ours = if change.bulk.is_over() {
            bulk_checks::remove(&mut database, &run.lease).await?
        } else {
            bulk_checks::fence(&mut database, &run.lease).await?
        };
        if !is_ours {
            return Err(run.superseded());
        }
        change.write(&mut database, run).await?;
        if change.bulk.is_over()
            && let Some(freeze) = &run.freeze
        {
            let results = run.results_after(&change.items);
            if let Some(answer) = kept(&change.bulk, &results) {
                idempotency::complete(&mut database, &freeze.scope(), &answer).await?;
            }
        }
        limits::release(
            &mut database,
            change.told.iter().map(|(stored, _)| &stored.transaction),
        )
        .await?;
        crash_point!("bulk.before_outcome_commit");
        database.commit().await?;
        Ok(())
    }

    async fn give_back(&self, run: &BulkRun) -> Result<(), Error> {
        let doubled = FIRST_WAIT.saturating_mul(1 << run.lease.attempts.min(8));
        let jitter_permille: u32 = rand::random_range(750..=1250);
        let wait = doubled.min(LONGEST_WAIT).saturating_mul(jitter_permille) / 1000;
        let mut conn = self.pool.acquire().await?;
        crash_point!("bulk.before_give_back");
        let is_ours = bulk_checks::release(&mut conn, &run.lease, wait).await?;
        crash_point!("bulk.after_give_back");
        if is_ours {
            Ok(())
        } else {
            Err(run.superseded())
        }
    }
}

impl Change {
    async fn write(&self, database: &mut PgConnection, run: &BulkRun) -> Result<(), Error> {
        let ended: Vec<&Transaction> = self
            .told
            .iter()
            .map(|(stored, _)| &stored.transaction)
            .collect();
        let batch = EventBatch::new();
        if !bulk_rows::update(database, &ended, &batch).await? {
            return Err(run.superseded());
        }
        let told: Vec<Told<'_>> = self
            .told
            .iter()
            .map(|(stored, event)| Told {
                stored,
                events: std::slice::from_ref(event),
                actor: &run.actor,
            })
            .collect();
        batch.append_all(database, &told).await?;
        bulk::note(database, self.bulk.id, &self.notes).await?;
        bulk::count(database, &self.bulk).await?;
        Ok(())
    }
}

impl BulkRun {
    /// Where the run has come to, all transfers in order.
    pub(crate) fn results(&self) -> Vec<ItemResult> {
        self.results_after(&[])
    }

    /// The same with some transfers as they are to be.
    fn results_after(&self, changed: &[(usize, Item)]) -> Vec<ItemResult> {
        let mut items: Vec<&Item> = self.items.iter().collect();
        for (index, item) in changed {
            items[*index] = item;
        }
        let mut results: Vec<ItemResult> = items.into_iter().map(ItemResult::of).collect();
        results.extend(self.settled.iter().cloned());
        results.sort_by_key(|result| result.position);
        results
    }

    /// The postings of a call. They are the same for every attempt.
    fn postings(&self, stage: Stage, asked: &[usize]) -> Result<Vec<Posting>, Error> {
        let noted = self.items.iter().find_map(|item| item.refusal);
        asked
            .iter()
            .map(|index| {
                let item = &self.items[*index];
                let note = match stage {
                    Stage::Post => None,
                    // A companion of the refused one is barred as that one is.
                    Stage::Bar => item.refusal.or(noted).map(Note::Refused),
                };
                posting(&item.stored.transaction, note)?
                    .ok_or(Error::Damaged { bulk: self.bulk.id })
            })
            .collect()
    }

    /// What an answer of the ledger changes.
    fn take_in(
        &self,
        stage: Stage,
        asked: &[usize],
        replies: &[BatchReply],
    ) -> Result<Change, Error> {
        let at = now();
        let items: Vec<&Item> = asked.iter().map(|index| &self.items[*index]).collect();
        let nexts = decide(self.bulk.mode, stage, &items, replies, !self.loose_end);
        let mut change = Change {
            bulk: Bulk {
                updated_at: at,
                ..self.bulk.clone()
            },
            items: Vec::with_capacity(asked.len()),
            told: Vec::with_capacity(asked.len()),
            notes: Vec::new(),
        };
        for (index, next) in asked.iter().zip(nexts) {
            let before = &self.items[*index];
            let mut item = before.clone();
            let event = match next {
                Next::Complete(posted) => Some(Event::Completed {
                    beneficiary: posted.beneficiary,
                    posted_at: posted.recorded_at,
                }),
                Next::Fail { failure, refusal } => {
                    item.refusal = refusal;
                    Some(Event::Failed(failure))
                }
                Next::Review(cause) => Some(Event::ReviewRequired { cause }),
                Next::Bar(refusal) => {
                    item.refusal = refusal;
                    None
                }
                Next::PostAgain => {
                    item.refusal = None;
                    None
                }
            };
            if item.refusal != before.refusal {
                change.notes.push((item.position, item.refusal));
            }
            if let Some(event) = event {
                let transaction = &mut item.stored.transaction;
                transaction
                    .apply(&event, at)
                    .map_err(crate::domain::StepError::from)?;
                change.bulk.counts.add(transaction.state);
                change.told.push((item.stored.clone(), event));
            }
            change.items.push((*index, item));
        }
        Ok(change)
    }

    fn superseded(&self) -> Error {
        Error::Superseded {
            bulk: self.lease.bulk,
        }
    }
}

/// The posting that a transfer sends next, by the state machine of transactions.
fn posting(transaction: &Transaction, note: Option<Note>) -> Result<Option<Posting>, Error> {
    let step = step(transaction, Input::Resume(note), &NO_TERMS, now())?;
    Ok(match step.command {
        Some(Command::Post(posting) | Command::Bar { posting, .. }) => Some(posting),
        Some(Command::Measure(_) | Command::Ask | Command::Look) | None => None,
    })
}

/// The answer to keep about a bulk transfer; `None` while there is none.
pub(crate) fn kept(bulk: &Bulk, results: &[ItemResult]) -> Option<Answer> {
    match answer(bulk, results) {
        Ok(response) => Some(Answer::response(&response)),
        Err(error @ Error::Refused { .. }) => Some(Answer::error(&Status::from(error))),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
