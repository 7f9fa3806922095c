//! Makes the runs of schedules when they are due.
//!
//! Every step is one database transaction that is bound to the lease: it reads the
//! schedule, decides by `schedule::turn`, and writes. A run is written with the id of
//! its transaction before its transfer is asked for; what has a transaction is never
//! asked for again, and what was asked for and has none is asked for under the same id
//! and the same key. So a run is made once, wherever a process died, and also when its
//! key is no longer kept. An id that could not be used for most of a day is given up
//! with its run, which fails: statements find transactions by the time of their ids, and
//! another id could be a second transfer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_aip::id::TransactionId;
use bursar_server::{crash_point, database, now};
use bursar_status::StatusExt;
use bursar_status::correlation::{self, CorrelationId};
use metrics::{counter, gauge};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::due::{self, DueWork};
use crate::advance::Engine;
use crate::config::RecoverySettings;
use crate::domain::{State as TransactionState, Transaction};
use crate::rpc::schedule::transfer;
use crate::schedule::error::Error;
use crate::schedule::turn::{Change, EXPIRED, Outcome, Turn, decide};
use crate::schedule::{RunFailure, RunState, Schedule, ScheduleRun};
use crate::store::id_time;
use crate::store::schedules::checks::{self, Lease};
use crate::store::schedules::{self, runs};
use crate::store::transactions;

/// How long one attempt may take, as a caller's own transfer may.
const ATTEMPT_TIME: Duration = Duration::from_secs(5);
/// How long the lease lasts from every step on: longer than an attempt, so that only a
/// process that stood still is overtaken.
const LEASE_TIME: Duration = Duration::from_secs(10);
/// How many schedules are worked on at once.
const CONCURRENCY: usize = 8;
/// How many steps are made before others have their turn.
const MAX_STEPS: usize = 60;
/// The first and the longest wait for an attempt that has not ended.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How much is kept of why an attempt was refused.
const REASON_LEN: usize = 64;
const MESSAGE_LEN: usize = 500;

/// Runs until the process ends.
pub(crate) async fn run(
    engine: Engine,
    settings: RecoverySettings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    due::run(Schedules { engine }, settings.interval, shutdown).await
}

/// The schedules whose check is due.
struct Schedules {
    engine: Engine,
}

impl DueWork for Schedules {
    type Lease = Lease;

    const WHAT: &'static str = "schedules";

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    async fn claim(&self, limit: i64) -> Result<Vec<Lease>, sqlx::Error> {
        let mut conn = self.engine.pool.acquire().await?;
        crash_point!("schedule.before_claim");
        checks::take_due(&mut conn, self.engine.holder, LEASE_TIME, limit).await
    }

    async fn work(self: Arc<Self>, lease: Lease, stop: CancellationToken) {
        follow(self.engine.clone(), lease, stop).await;
    }

    async fn count(&self) -> Result<(), sqlx::Error> {
        let mut conn = self.engine.pool.acquire().await?;
        let late_s = checks::lateness_s(&mut conn).await?;
        gauge!("bursar_schedule_lateness_seconds").set(u32::try_from(late_s).unwrap_or(u32::MAX));
        Ok(())
    }
}

/// Follows one schedule as far as there is something to do.
#[tracing::instrument(name = "schedules.follow", skip_all)]
async fn follow(engine: Engine, lease: Lease, stop: CancellationToken) {
    crash_point!("schedule.after_claim");
    let id = lease.schedule;
    let mut following = Following {
        engine,
        lease,
        got_on: false,
    };
    let steps = following.steps(&stop);
    match correlation::scope(CorrelationId::generate(), steps).await {
        Ok(()) => tracing::debug!(schedule_id = %id, "followed"),
        // Another instance has it.
        Err(Error::Superseded) => tracing::info!(schedule_id = %id, "overtaken"),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(schedule_id = %id, error, "following failed; it is tried again");
        }
    }
}

/// A schedule under a lease.
struct Following {
    engine: Engine,
    lease: Lease,
    /// Whether anything was written under it.
    got_on: bool,
}

/// What a step has left to do.
enum Next {
    /// Another step.
    Step,
    /// An attempt, and another step.
    Attempt(Box<(Schedule, ScheduleRun)>),
    /// Nothing.
    Done,
}

impl Following {
    async fn steps(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let mut outcome = None;
        for _ in 0..MAX_STEPS {
            if stop.is_cancelled() {
                break;
            }
            match self.step(outcome.take()).await? {
                Next::Step => {}
                Next::Attempt(attempt) => {
                    let (schedule, run) = *attempt;
                    outcome = self.attempt(&schedule, &run).await?;
                    if outcome.is_none() {
                        let looks = if self.got_on { 0 } else { self.lease.attempts };
                        let doubled = FIRST_WAIT.saturating_mul(1 << looks.min(8));
                        return self.give_back(doubled.min(LONGEST_WAIT)).await;
                    }
                }
                Next::Done => return Ok(()),
            }
        }
        self.give_back(Duration::ZERO).await
    }

    /// One database transaction: what is there, what follows from it, what is to be.
    async fn step(&mut self, outcome: Option<Outcome>) -> Result<Next, Error> {
        let mut database = database::begin(&self.engine.pool).await?;
        let id = self.lease.schedule;
        if !checks::fence(&mut database, &self.lease, LEASE_TIME).await? {
            return Err(Error::Superseded);
        }
        schedules::lock(&mut database, id).await?;
        let schedule = schedules::find(&mut database, id).await?;
        let schedule = schedule.ok_or(Error::NotFound)?;
        let open = runs::open(&mut database, id).await?;
        let at = now();
        match decide(
            &schedule,
            open.as_ref(),
            outcome,
            at,
            TransactionId::generate(),
        ) {
            Turn::Attempt(run) => {
                crash_point!("schedule.before_fence_commit");
                database.commit().await?;
                crash_point!("schedule.after_fence_commit");
                return Ok(Next::Attempt(Box::new((schedule, run))));
            }
            Turn::Write(change) => {
                write(&mut database, &change).await?;
                if has_started(&change) {
                    crash_point!("schedule.before_begin_commit");
                    database.commit().await?;
                    crash_point!("schedule.after_begin_commit");
                } else {
                    crash_point!("schedule.before_end_commit");
                    database.commit().await?;
                    crash_point!("schedule.after_end_commit");
                }
                self.got_on = true;
                told(&change);
                return Ok(Next::Step);
            }
            Turn::Wait(until) => {
                let wait = Duration::try_from(until - at).unwrap_or_default();
                checks::release(&mut database, &self.lease, wait, true).await?;
            }
            Turn::Rest => {
                checks::remove(&mut database, &self.lease).await?;
            }
        }
        crash_point!("schedule.before_put_off_commit");
        database.commit().await?;
        crash_point!("schedule.after_put_off_commit");
        Ok(Next::Done)
    }

    /// Makes an attempt, unless it was made before, and says how it has ended; `None`
    /// while that is not known.
    async fn attempt(
        &self,
        schedule: &Schedule,
        run: &ScheduleRun,
    ) -> Result<Option<Outcome>, Error> {
        let Some(id) = run.transactions.last() else {
            return Err(Error::NotFound);
        };
        if let Some(made) = self.made(*id).await? {
            return Ok(outcome(&made));
        }
        if id_time::age(id.uuid(), now()) > id_time::OLDEST {
            return Ok(Some(Outcome::Refused(expired())));
        }
        let deadline = Instant::now() + ATTEMPT_TIME;
        crash_point!("schedule.before_attempt");
        let answered = transfer::attempt(&self.engine, schedule, run, deadline).await;
        crash_point!("schedule.after_attempt");
        // What was recorded says more than the answer, which may have come too late.
        if let Some(made) = self.made(*id).await? {
            return Ok(outcome(&made));
        }
        Ok(match answered {
            Ok(_) => None,
            Err(status) => refusal(&status).map(Outcome::Refused),
        })
    }

    /// The transaction of an attempt, if it was recorded.
    async fn made(&self, id: TransactionId) -> Result<Option<Transaction>, Error> {
        let mut conn = self.engine.pool.acquire().await?;
        let found = transactions::find(&mut conn, id).await?;
        Ok(found.map(|stored| stored.transaction))
    }

    async fn give_back(&self, wait: Duration) -> Result<(), Error> {
        let mut conn = self.engine.pool.acquire().await?;
        crash_point!("schedule.before_give_back");
        let is_ours = checks::release(&mut conn, &self.lease, wait, self.got_on).await?;
        crash_point!("schedule.after_give_back");
        if is_ours {
            Ok(())
        } else {
            Err(Error::Superseded)
        }
    }
}

async fn write(conn: &mut PgConnection, change: &Change) -> Result<(), sqlx::Error> {
    let schedule = &change.schedule;
    schedules::update(conn, schedule).await?;
    runs::write(conn, &schedule.tenant, schedule.id, &change.runs).await
}

/// True when an attempt follows.
fn has_started(change: &Change) -> bool {
    let mut runs = change.runs.iter();
    runs.any(|run| run.state == RunState::Started)
}

fn told(change: &Change) {
    for run in &change.runs {
        if run.ended_at.is_some() {
            counter!("bursar_schedule_runs_total", "state" => run.state.name()).increment(1);
        }
        tracing::info!(
            schedule_id = %change.schedule.id,
            number = run.number,
            state = run.state.name(),
            schedule_state = change.schedule.state.name(),
            reason = run.failure.as_ref().map(|failure| failure.reason.as_str()),
            "a run of a schedule"
        );
    }
}

/// How an attempt has ended by its transaction; `None` while that is under way.
fn outcome(transaction: &Transaction) -> Option<Outcome> {
    if !transaction.state.is_at_rest() {
        return None;
    }
    Some(match (&transaction.failure, transaction.state) {
        (Some(failure), _) => Outcome::Refused(RunFailure {
            reason: failure.reason.name().to_owned(),
            message: failure.message.clone(),
        }),
        (None, TransactionState::Completed) => Outcome::Completed,
        (None, _) => Outcome::Review,
    })
}

/// The end of an attempt that could not be made in time. The run is over with it, so
/// that one which stood still meanwhile is the only one if it is recorded after all.
fn expired() -> RunFailure {
    RunFailure {
        reason: EXPIRED.to_owned(),
        message: format!(
            "the transfer could not be made within {} hours",
            id_time::OLDEST.whole_hours()
        ),
    }
}

/// Why an attempt was refused before anything was recorded; `None` when it may be that
/// the same attempt is not refused, or that it was not made at all.
fn refusal(status: &Status) -> Option<RunFailure> {
    let details = status.get_error_details();
    let is_final = matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::OutOfRange
            | Code::ResourceExhausted
    );
    if !is_final || details.retry_info().is_some() {
        return None;
    }
    let reason = details.error_info()?.reason.chars();
    Some(RunFailure {
        reason: reason.take(REASON_LEN).collect(),
        message: status.message().chars().take(MESSAGE_LEN).collect(),
    })
}
