//! The one loop that moves a transaction on: step, commit, run the command,
//! step again. Live requests and recovery both run it; what differs is who
//! waits for the answer.
//!
//! A run owns a lease. Every write of it is one database transaction that is
//! bound to the lease's epoch and to the version it started from, so two runs
//! of one transaction cannot both write; and every remote effect has an id that
//! makes it single. A run that finds its lease taken over stops at once.

mod answer;
mod asking;
mod endings;

use std::time::{Duration, Instant};

use bursar_aip::id::{TransactionId, WalletId};
use bursar_aip::idempotency;
use bursar_server::{canary, crash_point, database, now};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::{
    self, Command, Input, Note, Step, StepError, Terms, Transaction, Verdict, next_check_in,
};
use crate::error::Error;
use crate::fraud::screener::Screener;
use crate::intents::Intents;
use crate::ledger::{Ledger, Reply};
use crate::limits;
use crate::payout::PayoutAccounts;
use crate::provider::Providers;
use crate::store::checks::{self, Lease};
use crate::store::events::EventBatch;
use crate::store::transactions::Stored;
use crate::store::{events, transactions};
use crate::watch;

pub(crate) use answer::{AnswerForm, Freeze, answer_of};
use endings::Written;
pub(crate) use endings::{Endings, endings};

/// Left of a run's time for committing what a call has brought.
const COMMIT_MARGIN: Duration = Duration::from_millis(500);
/// How many commands one run may carry out. The state machine needs four, and for
/// each share of a refund's three more.
const MAX_TURNS: usize = 20;
/// The terms where no provider takes part, and for one that is no longer configured:
/// nothing is assumed about it, and nothing is given up.
pub(crate) const UNKNOWN_TERMS: Terms = Terms {
    lookup_window: Duration::from_secs(10 * 365 * 24 * 3600),
    give_up_after: Duration::from_secs(10 * 365 * 24 * 3600),
};

/// What runs need.
#[derive(Clone)]
pub(crate) struct Engine {
    /// The database.
    pub(crate) pool: PgPool,
    /// The same database for the rows of bulks.
    pub(crate) bulks: PgPool,
    /// The ledger.
    pub(crate) ledger: Ledger,
    /// The payment providers.
    pub(crate) providers: Providers,
    /// Fraud screening.
    pub(crate) fraud: Screener,
    /// The bank accounts that users are paid out to.
    pub(crate) payout_accounts: PayoutAccounts,
    /// Where transfers begin together.
    pub(crate) intents: Intents,
    /// Where transfers end together.
    pub(crate) endings: Endings,
    /// Names this process in leases.
    pub(crate) holder: Uuid,
}

/// Where a run has come to.
pub(crate) struct Ended {
    /// The transaction.
    pub(crate) stored: Stored,
    /// False when the answer to this was to be kept and was not: the key has another
    /// answer by now, or is gone.
    pub(crate) is_kept: bool,
}

/// One run of one transaction.
pub(crate) struct Run {
    /// The transaction as this run knows it.
    pub(crate) stored: Stored,
    /// The right to write.
    pub(crate) lease: Lease,
    /// Who is told to have caused what happens.
    pub(crate) actor: String,
    /// True when an attempt of the opening posting may be under way that this
    /// run does not know of, or has lost sight of.
    pub(crate) loose_end: bool,
    /// Where the answer is kept, when a caller waits for it.
    pub(crate) freeze: Option<Freeze>,
    /// When the run must have ended.
    pub(crate) deadline: Instant,
    /// Ends the run early. A provider that was asked to act is still waited
    /// for, because its answer is worth more than a moment.
    pub(crate) stop: CancellationToken,
}

impl Engine {
    /// What was agreed with the provider of a transaction.
    pub(crate) fn terms(&self, transaction: &Transaction) -> Terms {
        transaction
            .movement
            .provider()
            .and_then(|name| self.providers.get(name))
            .map_or(UNKNOWN_TERMS, |provider| provider.terms())
    }

    /// The transaction of an id, from its row.
    pub(crate) async fn find(&self, id: TransactionId) -> Result<Stored, Error> {
        let mut conn = self.pool.acquire().await?;
        let found = transactions::find(&mut conn, id).await?;
        found.ok_or(Error::TransactionNotFound)
    }

    /// The transaction of an id, from its events. The row must say the same: a
    /// transaction whose log and row differ is not moved on. Only for whoever
    /// holds the lease, so that nobody writes in between.
    pub(crate) async fn load(&self, id: TransactionId) -> Result<Stored, Error> {
        let mut conn = self.pool.acquire().await?;
        let log = events::load(&mut conn, id).await?;
        let folded = Transaction::fold(id, log).map_err(StepError::from)?;
        let found = transactions::find(&mut conn, id).await?;
        match found {
            Some(stored) if stored.transaction == folded => Ok(stored),
            Some(_) | None => Err(Error::Damaged { transaction: id }),
        }
    }

    /// Runs a transaction from `first` until it rests. Its lease is given back or gone
    /// with its check.
    pub(crate) async fn advance(&self, mut run: Run, first: Step) -> Result<Ended, Error> {
        let keeps = run.freeze.is_some();
        let mut step = first;
        for _ in 0..MAX_TURNS {
            let Some(command) = step.command.clone() else {
                break;
            };
            self.commit_between(&mut run, &step).await?;
            let sent_at = now();
            let input = self.carry_out(&mut run, command).await;
            // What a provider does not know, it did not know when it was asked:
            // the answer may be old, and the clock may have been set.
            let at = match input {
                Input::Looked(_) if canary!("provider.absence_believed") => {
                    sent_at + time::Duration::HOUR
                }
                Input::Looked(_) => sent_at,
                _ => now(),
            };
            step = self.step(&run, input, at)?;
        }
        self.commit_last(&mut run, step).await?;
        Ok(Ended {
            is_kept: run.freeze.is_some() == keeps,
            stored: run.stored,
        })
    }

    /// Runs a transaction from where it is.
    pub(crate) async fn resume(&self, run: Run) -> Result<Ended, Error> {
        let step = self.step(&run, Input::Resume(run.lease.note), now())?;
        self.advance(run, step).await
    }

    fn step(&self, run: &Run, input: Input, at: OffsetDateTime) -> Result<Step, Error> {
        let transaction = &run.stored.transaction;
        Ok(domain::step(
            transaction,
            input,
            &self.terms(transaction),
            at,
        )?)
    }

    /// Commits what must be durable before the next command.
    async fn commit_between(&self, run: &mut Run, step: &Step) -> Result<(), Error> {
        let note_is_new = step.note.is_some() && step.note != run.lease.note;
        if step.events.is_empty() && !note_is_new {
            return Ok(());
        }
        let mut database = database::begin(&self.pool).await?;
        if !checks::fence(&mut database, &run.lease, step.note).await? {
            return Err(run.superseded());
        }
        run.append(&mut database, step).await?;
        crash_point!("advance.before_commit_between");
        database.commit().await?;
        crash_point!("advance.after_commit_between");
        run.moved(step);
        Ok(())
    }

    /// Commits where the run ends, gives the lease back, and keeps the answer.
    async fn commit_last(&self, run: &mut Run, step: Step) -> Result<(), Error> {
        if Endings::take(run, &step) {
            match self.endings.write(run, &step).await {
                Written::Now { is_kept } => {
                    if !is_kept {
                        run.freeze = None;
                    }
                    run.moved(&step);
                    return Ok(());
                }
                Written::Superseded => return Err(run.superseded()),
                // Now it is, or it is found to be.
                Written::Perhaps => {}
            }
        }
        if let Err(error) = self.try_commit_last(run, &step).await {
            // The caller's key was answered or deleted meanwhile. The outcome counts all
            // the same.
            if !matches!(error, Error::Database(sqlx::Error::RowNotFound)) || run.freeze.is_none() {
                return Err(error);
            }
            run.freeze = None;
            self.try_commit_last(run, &step).await?;
        }
        run.moved(&step);
        Ok(())
    }

    async fn try_commit_last(&self, run: &Run, step: &Step) -> Result<(), Error> {
        let after = Stored {
            transaction: step.transaction.clone(),
            ..run.stored.clone()
        };
        let mut database = database::begin(&self.pool).await?;
        let is_ours = if after.transaction.state.is_at_rest() {
            checks::remove(&mut database, &run.lease).await?
        } else {
            let note = run.note_after(step);
            let delay = self.next_check_in(run, &after.transaction);
            checks::release(&mut database, &run.lease, note, delay).await?
        };
        if !is_ours {
            return Err(run.superseded());
        }
        run.append(&mut database, step).await?;
        if let Some(freeze) = &run.freeze
            && let Some(answer) = freeze.answer(&after)
        {
            idempotency::complete(&mut database, &freeze.scope(), &answer).await?;
        }
        limits::release(&mut database, [&after.transaction]).await?;
        crash_point!("advance.before_commit_last");
        database.commit().await?;
        crash_point!("advance.after_commit_last");
        Ok(())
    }

    fn next_check_in(&self, run: &Run, transaction: &Transaction) -> Duration {
        let jitter_permille = rand::random_range(750..=1250);
        let terms = self.terms(transaction);
        let attempts = run.lease.attempts;
        next_check_in(transaction, attempts, jitter_permille, &terms, now())
    }

    /// Carries a command out and says what came of it. Without time left, or
    /// when the run is to stop, nothing is sent.
    async fn carry_out(&self, run: &mut Run, command: Command) -> Input {
        match command {
            Command::Post(posting) => match self.post(run, &posting).await {
                Some(Reply::Applied(posted)) => Input::Posted(posted),
                Some(Reply::Refused(refusal)) => Input::Refused {
                    refusal,
                    sole_attempt: !run.loose_end || canary!("posting.refusal_believed"),
                },
                Some(Reply::Faulted(fault)) => Input::Faulted(fault),
                None => Input::Unposted,
            },
            Command::Bar { posting, verdict } => self.bar(run, &posting, verdict).await,
            Command::Measure(wallet) => Input::Measured(self.measure(run, wallet).await),
            Command::Ask => Input::Asked(self.ask(run).await),
            Command::Look => Input::Looked(self.look(run).await),
        }
    }

    async fn post(&self, run: &mut Run, posting: &domain::Posting) -> Option<Reply> {
        let deadline = run.deadline.checked_sub(COMMIT_MARGIN)?;
        if run.stop.is_cancelled() {
            return None;
        }
        crash_point!("advance.before_post");
        tokio::select! {
            attempted = self.ledger.post(posting, &run.actor, deadline) => {
                crash_point!("advance.after_post");
                run.loose_end |= attempted.loose_end;
                attempted.reply
            }
            // Left under way; whoever goes on repeats it.
            () = run.stop.cancelled() => {
                run.loose_end = true;
                None
            }
        }
    }

    /// Takes the id of the opening posting. When it is taken already, it is
    /// taken by the posting itself: a bar looks the same every time.
    async fn bar(&self, run: &mut Run, posting: &domain::Posting, verdict: Verdict) -> Input {
        match self.post(run, posting).await {
            Some(Reply::Applied(_)) => Input::Barred(verdict),
            Some(Reply::Faulted(domain::LedgerFault::PostingIdReused)) => Input::BarredTooLate,
            Some(Reply::Faulted(fault)) => Input::Faulted(fault),
            // The platform's own wallet is refused nothing that is the customers' matter.
            Some(Reply::Refused(_)) => Input::Faulted(domain::LedgerFault::Unexplained),
            None => Input::Unposted,
        }
    }

    /// What a wallet has available, as a hint. A wallet that is gone has nothing.
    async fn measure(&self, run: &Run, wallet: WalletId) -> Option<i64> {
        let deadline = run.deadline.checked_sub(COMMIT_MARGIN)?;
        crash_point!("advance.before_measure");
        let measured = self.ledger.wallet(wallet, deadline).await;
        crash_point!("advance.after_measure");
        match measured {
            Ok(found) => Some(found.map_or(0, |wallet| wallet.available_minor)),
            Err(status) => {
                tracing::warn!(code = ?status.code(), "the ledger does not say what a wallet has");
                None
            }
        }
    }
}

impl Run {
    /// Appends a step's events and turns the row, from the version this run knows.
    async fn append(&self, database: &mut PgConnection, step: &Step) -> Result<(), Error> {
        if step.events.is_empty() {
            return Ok(());
        }
        let from = self.stored.transaction.version;
        let batch = EventBatch::new();
        if !transactions::update(database, &step.transaction, from, &batch).await? {
            return Err(self.superseded());
        }
        let after = Stored {
            transaction: step.transaction.clone(),
            ..self.stored.clone()
        };
        batch
            .append(database, &after, &step.events, &self.actor)
            .await?;
        Ok(())
    }

    /// Takes in what was committed.
    fn moved(&mut self, step: &Step) {
        self.lease.note = self.note_after(step);
        let before = self.stored.transaction.state;
        self.stored.transaction = step.transaction.clone();
        if before != step.transaction.state {
            watch::moved(&step.transaction);
        }
    }

    /// The note after a step: without events and without a note of its own, an
    /// earlier note stays.
    fn note_after(&self, step: &Step) -> Option<Note> {
        if step.events.is_empty() {
            step.note.or(self.lease.note)
        } else {
            step.note
        }
    }

    fn superseded(&self) -> Error {
        Error::Superseded {
            transaction: self.lease.transaction,
        }
    }
}
