//! Transfers that are made later, once or again and again.
//!
//! A schedule is a plan; each of its runs is a transfer like any other, made by the
//! same code as a call of its owner's. The rules are pure and here: [`recurrence`] says
//! when runs are due, [`turn`] what is to be done at a moment, [`control`] what owners
//! and operators may do with a schedule. The job in `jobs/schedules.rs` carries it out.
//!
//! | due time | rule | what becomes of it |
//! |---|---|---|
//! | not older than `missed.after` | any | it is run |
//! | older: missed | SKIP | it is skipped |
//! | | RUN_ONCE | the latest missed one is run, the others are skipped |
//! | | RUN_ALL | the latest `missed.catch_up_limit` are run, oldest first, older ones skipped |
//!
//! A schedule has one run at a time, oldest first. Every due time that passes while it
//! is active has a run with a number, also when it is skipped; what is due while a
//! schedule is paused has none.

pub(crate) mod contract;
pub(crate) mod control;
pub(crate) mod error;
pub(crate) mod invariants;
pub(crate) mod recurrence;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod turn;

use std::time::Duration;

use bursar_aip::id::{ScheduleId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::PositiveMoney;
use time::OffsetDateTime;

use recurrence::Recurrence;

/// When runs are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// At the start, and never again.
    Once,
    /// From the start on.
    Recurring(Recurrence),
}

/// What becomes of missed runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissedRule {
    /// They are skipped.
    Skip,
    /// One run makes up for all of them.
    RunOnce,
    /// Each is made up for, up to a bound.
    RunAll,
}

/// Which runs are missed, and what becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MissedRuns {
    /// What becomes of them.
    pub(crate) rule: MissedRule,
    /// How late a run may begin and is not yet missed.
    pub(crate) after: Duration,
    /// How many [`MissedRule::RunAll`] makes up for.
    pub(crate) catch_up_limit: u16,
}

/// What becomes of a run that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failures {
    /// How often it is tried again.
    pub(crate) max_retries: u16,
    /// How long after a refusal.
    pub(crate) retry_interval: Duration,
    /// After how many failed runs in a row the schedule is paused.
    pub(crate) pause_after: u16,
}

/// Whether a schedule has runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has.
    Active,
    /// Not until it is resumed.
    Paused(PauseCause),
    /// It has had its last.
    Ended,
    /// Never again.
    Cancelled,
}

/// Why a schedule is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PauseCause {
    /// Its owner asked for it.
    Owner,
    /// An operator asked for it.
    Operator,
    /// As many runs in a row have failed as may.
    FailedRuns,
}

/// What is planned, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) id: ScheduleId,
    pub(crate) tenant: TenantId,
    /// Who made it, and for whom it acts.
    pub(crate) initiator: UserId,
    /// The user's verification tier when the user last made or resumed it; no token says
    /// what it is when a run is due.
    pub(crate) tier: u8,
    pub(crate) from: WalletId,
    pub(crate) to: WalletId,
    pub(crate) amount: PositiveMoney,
    pub(crate) description: String,
    /// The time before which no run is due.
    pub(crate) start_at: OffsetDateTime,
    pub(crate) timing: Timing,
    /// The time after which no run is due.
    pub(crate) end_at: Option<OffsetDateTime>,
    /// How many runs there are at most.
    pub(crate) max_runs: Option<i32>,
    pub(crate) missed: MissedRuns,
    pub(crate) failures: Failures,
    pub(crate) state: State,
    /// When the next run is due; `None` when none is to come.
    pub(crate) next_run_at: Option<OffsetDateTime>,
    /// How many runs it has had.
    pub(crate) run_count: i32,
    pub(crate) failures_in_a_row: i32,
    pub(crate) created_at: OffsetDateTime,
    /// When its state last changed.
    pub(crate) updated_at: OffsetDateTime,
    /// Grows with every change of its state.
    pub(crate) version: i64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// Its transfer is being made.
    Started,
    /// Its transfer was refused, and is made again at this time.
    Retrying(OffsetDateTime),
    /// Its transfer completed.
    Completed,
    /// Its transfer was refused.
    Failed,
    /// No transfer was made.
    Skipped,
    /// Its transfer needs a person.
    Review,
}

/// Why a transfer was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunFailure {
    /// The name of the reason in the contract.
    pub(crate) reason: String,
    /// The same for people.
    pub(crate) message: String,
}

/// One run of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScheduleRun {
    /// From 1.
    pub(crate) number: i32,
    pub(crate) due_at: OffsetDateTime,
    pub(crate) state: RunState,
    /// The transaction of each attempt. An id is chosen and kept before its attempt is
    /// made, so that the attempt is one however often it has to be made.
    pub(crate) transactions: Vec<TransactionId>,
    /// Why the last attempt was refused.
    pub(crate) failure: Option<RunFailure>,
    pub(crate) started_at: Option<OffsetDateTime>,
    pub(crate) ended_at: Option<OffsetDateTime>,
}

impl Schedule {
    /// The first due time later than `after` of a schedule that has had so many runs.
    fn due_after(&self, after: OffsetDateTime, run_count: i32) -> Option<OffsetDateTime> {
        if self.max_runs.is_some_and(|most| run_count >= most) {
            return None;
        }
        let due = match &self.timing {
            Timing::Once => (self.start_at > after).then_some(self.start_at)?,
            Timing::Recurring(recurrence) => recurrence.next_after(after)?,
        };
        self.end_at.is_none_or(|end| due <= end).then_some(due)
    }

    /// The first due time of a new schedule.
    pub(crate) fn first_due(&self) -> Option<OffsetDateTime> {
        self.due_after(self.start_at - time::Duration::SECOND, 0)
    }

    /// The due times to come, in order.
    pub(crate) fn coming(&self) -> impl Iterator<Item = OffsetDateTime> {
        let first = self.next_run_at.map(|due| (due, self.run_count + 1));
        std::iter::successors(first, |(due, run_count)| {
            Some((self.due_after(*due, *run_count)?, run_count + 1))
        })
        .map(|(due, _)| due)
    }

    /// The next due times, for display; none while no run would begin.
    pub(crate) fn preview(&self, most: usize) -> Vec<OffsetDateTime> {
        match self.state {
            State::Active => self.coming().take(most).collect(),
            State::Paused(_) | State::Ended | State::Cancelled => Vec::new(),
        }
    }

    fn turn_to(&mut self, state: State, now: OffsetDateTime) {
        self.state = state;
        self.updated_at = now;
        self.version += 1;
    }
}

impl MissedRule {
    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Skip => "SKIP",
            Self::RunOnce => "RUN_ONCE",
            Self::RunAll => "RUN_ALL",
        }
    }

    /// The rule of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all = [Self::Skip, Self::RunOnce, Self::RunAll];
        all.into_iter().find(|rule| rule.name() == name)
    }
}

impl State {
    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Paused(_) => "PAUSED",
            Self::Ended => "ENDED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Why it is paused, if it is.
    pub(crate) fn pause_cause(self) -> Option<PauseCause> {
        match self {
            Self::Paused(cause) => Some(cause),
            Self::Active | Self::Ended | Self::Cancelled => None,
        }
    }

    /// The state of that name.
    pub(crate) fn parse(name: &str, cause: Option<PauseCause>) -> Option<Self> {
        let all = [Self::Active, Self::Ended, Self::Cancelled];
        let paused = cause.map(Self::Paused);
        all.into_iter()
            .chain(paused)
            .find(|state| state.name() == name)
    }
}

impl PauseCause {
    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Owner => "OWNER",
            Self::Operator => "OPERATOR",
            Self::FailedRuns => "FAILED_RUNS",
        }
    }

    /// The cause of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all = [Self::Owner, Self::Operator, Self::FailedRuns];
        all.into_iter().find(|cause| cause.name() == name)
    }
}

impl RunState {
    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Retrying(_) => "RETRYING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
            Self::Review => "MANUAL_REVIEW",
        }
    }

    /// When the transfer is made again, if it is.
    pub(crate) fn retry_at(self) -> Option<OffsetDateTime> {
        match self {
            Self::Retrying(at) => Some(at),
            Self::Started | Self::Completed | Self::Failed | Self::Skipped | Self::Review => None,
        }
    }

    /// The state of that name.
    pub(crate) fn parse(name: &str, retry_at: Option<OffsetDateTime>) -> Option<Self> {
        let all = [
            Self::Started,
            Self::Completed,
            Self::Failed,
            Self::Skipped,
            Self::Review,
        ];
        let retrying = retry_at.map(Self::Retrying);
        all.into_iter()
            .chain(retrying)
            .find(|state| state.name() == name)
    }
}
