//! Schedules and runs as the contract writes them.

use bursar_contracts::transaction::v1::{
    self as contract, MissedRunPolicy, MissedRunRule, ScheduleFailurePolicy, SchedulePauseCause,
    ScheduleRecurrence, ScheduleRunState, ScheduleState, ScheduleUnit, TransactionFailure,
};

use super::recurrence::{Recurrence, Unit};
use super::{MissedRule, PauseCause, RunState, Schedule, ScheduleRun, State, Timing};
use crate::contract::{money, timestamp};

impl Schedule {
    /// The schedule as the contract writes it.
    pub(crate) fn message(&self) -> contract::Schedule {
        contract::Schedule {
            schedule_id: self.id.to_string(),
            state: state(self.state).into(),
            pause_cause: self
                .state
                .pause_cause()
                .map_or(SchedulePauseCause::Unspecified, pause_cause)
                .into(),
            from_wallet_id: self.from.to_string(),
            to_wallet_id: self.to.to_string(),
            amount: Some(money(self.amount)),
            description: self.description.clone(),
            start_at: Some(timestamp(self.start_at)),
            recurrence: match &self.timing {
                Timing::Once => None,
                Timing::Recurring(recurrence) => Some(recurrence.message()),
            },
            end_at: self.end_at.map(timestamp),
            max_runs: self.max_runs.unwrap_or(0),
            missed_runs: Some(MissedRunPolicy {
                rule: missed_rule(self.missed.rule).into(),
                missed_after_seconds: seconds(self.missed.after),
                catch_up_limit: self.missed.catch_up_limit.into(),
            }),
            failures: Some(ScheduleFailurePolicy {
                max_retries: self.failures.max_retries.into(),
                retry_interval_seconds: seconds(self.failures.retry_interval),
                pause_after_failures: self.failures.pause_after.into(),
            }),
            next_run_at: match self.state {
                State::Active => self.next_run_at.map(timestamp),
                State::Paused(_) | State::Ended | State::Cancelled => None,
            },
            run_count: self.run_count,
            failures_in_a_row: self.failures_in_a_row,
            initiator_user_id: self.initiator.to_string(),
            created_at: Some(timestamp(self.created_at)),
            updated_at: Some(timestamp(self.updated_at)),
            version: self.version,
        }
    }
}

impl Recurrence {
    fn message(&self) -> ScheduleRecurrence {
        let (unit, day) = match self.unit {
            Unit::Day => (ScheduleUnit::Day, 0),
            Unit::Week => (ScheduleUnit::Week, 0),
            Unit::Month { day } => (ScheduleUnit::Month, day),
        };
        let time = self.time_of_day;
        ScheduleRecurrence {
            unit: unit.into(),
            interval: self.interval.into(),
            time_of_day: format!("{:02}:{:02}", time.hour(), time.minute()),
            day_of_month: day.into(),
            time_zone: self.zone.name().to_owned(),
        }
    }
}

impl ScheduleRun {
    /// The run as the contract writes it.
    pub(crate) fn message(&self) -> contract::ScheduleRun {
        contract::ScheduleRun {
            number: self.number,
            due_at: Some(timestamp(self.due_at)),
            state: run_state(self.state).into(),
            transaction_ids: self.transactions.iter().map(ToString::to_string).collect(),
            failure: self.failure.as_ref().map(|failure| TransactionFailure {
                reason: failure.reason.clone(),
                message: failure.message.clone(),
            }),
            started_at: self.started_at.map(timestamp),
            ended_at: self.ended_at.map(timestamp),
            retry_at: self.state.retry_at().map(timestamp),
        }
    }
}

/// Whole seconds, which the contract bounds far below the type's end.
fn seconds(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn state(state: State) -> ScheduleState {
    match state {
        State::Active => ScheduleState::Active,
        State::Paused(_) => ScheduleState::Paused,
        State::Ended => ScheduleState::Ended,
        State::Cancelled => ScheduleState::Cancelled,
    }
}

fn pause_cause(cause: PauseCause) -> SchedulePauseCause {
    match cause {
        PauseCause::Owner => SchedulePauseCause::Owner,
        PauseCause::Operator => SchedulePauseCause::Operator,
        PauseCause::FailedRuns => SchedulePauseCause::FailedRuns,
    }
}

fn missed_rule(rule: MissedRule) -> MissedRunRule {
    match rule {
        MissedRule::Skip => MissedRunRule::Skip,
        MissedRule::RunOnce => MissedRunRule::RunOnce,
        MissedRule::RunAll => MissedRunRule::RunAll,
    }
}

fn run_state(state: RunState) -> ScheduleRunState {
    match state {
        RunState::Started => ScheduleRunState::Started,
        RunState::Retrying(_) => ScheduleRunState::Retrying,
        RunState::Completed => ScheduleRunState::Completed,
        RunState::Failed => ScheduleRunState::Failed,
        RunState::Skipped => ScheduleRunState::Skipped,
        RunState::Review => ScheduleRunState::ManualReview,
    }
}
