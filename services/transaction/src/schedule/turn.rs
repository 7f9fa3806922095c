//! What is to be done with a schedule at a moment.
//!
//! The job asks [`decide`] with what the database says, carries the answer out and
//! asks again, until there is nothing to do. Everything that an attempt needs is
//! committed before it is made, its transaction's id included; so a job that died
//! anywhere is followed by one that decides the same from the same rows.

use bursar_aip::id::TransactionId;
use time::OffsetDateTime;

use super::{MissedRule, PauseCause, RunFailure, RunState, Schedule, ScheduleRun, State};

/// How many due times are looked at in one turn.
const MOST_DUE: usize = 500;
/// The refusal of an attempt whose id has become too old for a new transaction.
pub(crate) const EXPIRED: &str = "SCHEDULE_RUN_EXPIRED";
/// Refusals that no repetition of the same transfer can turn.
const HOPELESS: [&str; 5] = [
    EXPIRED,
    "WALLET_NOT_FOUND",
    "WALLET_CLOSED",
    "CURRENCY_MISMATCH",
    "SAME_WALLET",
];

/// How an attempt has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The money has moved.
    Completed,
    /// It has not, and never will by this attempt.
    Refused(RunFailure),
    /// A person has to find out.
    Review,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Make this run's last attempt and ask again with its outcome.
    Attempt(ScheduleRun),
    /// Write this and ask again.
    Write(Box<Change>),
    /// Nothing before this time.
    Wait(OffsetDateTime),
    /// Nothing ever, or not until somebody resumes it.
    Rest,
}

/// What is to be written, all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The schedule afterwards.
    pub(crate) schedule: Schedule,
    /// The runs that are new or other than before, with distinct numbers.
    pub(crate) runs: Vec<ScheduleRun>,
}

/// Decides. `open` is the one run that has not ended, `outcome` that of its last
/// attempt, where it is known, and `id` what the next attempt's transaction is called.
pub(crate) fn decide(
    schedule: &Schedule,
    open: Option<&ScheduleRun>,
    outcome: Option<Outcome>,
    now: OffsetDateTime,
    id: TransactionId,
) -> Turn {
    let Some(run) = open else {
        return match schedule.state {
            State::Active => begin(schedule, now, id),
            State::Paused(_) | State::Ended | State::Cancelled => Turn::Rest,
        };
    };
    match (run.state, outcome) {
        (RunState::Retrying(_), _) if !may_retry(schedule, now) => {
            let mut run = run.clone();
            run.state = RunState::Failed;
            run.ended_at = Some(now);
            ended(schedule, run, now)
        }
        (RunState::Retrying(retry_at), _) if retry_at <= now => {
            let mut run = run.clone();
            run.state = RunState::Started;
            run.transactions.push(id);
            write(schedule.clone(), vec![run])
        }
        (RunState::Retrying(retry_at), _) => Turn::Wait(retry_at),
        (_, None) => Turn::Attempt(run.clone()),
        (_, Some(outcome)) => finish(schedule, run, outcome, now),
    }
}

/// True while a retry at this time would still come before the next run.
fn may_retry(schedule: &Schedule, at: OffsetDateTime) -> bool {
    schedule.state == State::Active && schedule.next_run_at.is_none_or(|next| at < next)
}

/// Looks at what is due.
fn begin(schedule: &Schedule, now: OffsetDateTime, id: TransactionId) -> Turn {
    let Some(next) = schedule.next_run_at else {
        let mut after = schedule.clone();
        after.turn_to(State::Ended, now);
        return write(after, Vec::new());
    };
    if next > now {
        return Turn::Wait(next);
    }
    let coming = schedule.coming().take_while(|due| *due <= now);
    let due: Vec<OffsetDateTime> = coming.take(MOST_DUE).collect();
    let skipped = to_skip(schedule, &due, now);
    let mut runs: Vec<ScheduleRun> = Vec::new();
    for (number, due_at) in (schedule.run_count + 1..).zip(&due).take(skipped) {
        runs.push(ScheduleRun {
            number,
            due_at: *due_at,
            state: RunState::Skipped,
            transactions: Vec::new(),
            failure: None,
            started_at: None,
            ended_at: Some(now),
        });
    }
    // Behind a full look there may be more that counts.
    let to_run = due
        .get(skipped)
        .filter(|_| due.len() < MOST_DUE || skipped == 0);
    let mut after = schedule.clone();
    if let Some(due_at) = to_run {
        runs.push(ScheduleRun {
            number: schedule.run_count + 1 + i32::try_from(skipped).unwrap_or(i32::MAX),
            due_at: *due_at,
            state: RunState::Started,
            transactions: vec![id],
            failure: None,
            started_at: Some(now),
            ended_at: None,
        });
    }
    if let Some(last) = runs.last() {
        after.run_count = last.number;
        after.next_run_at = schedule.due_after(last.due_at, last.number);
    }
    if after.next_run_at.is_none() && to_run.is_none() {
        after.turn_to(State::Ended, now);
    }
    write(after, runs)
}

/// How many of the due times, from the oldest on, are skipped.
fn to_skip(schedule: &Schedule, due: &[OffsetDateTime], now: OffsetDateTime) -> usize {
    let missed = due.partition_point(|due| now - *due > schedule.missed.after);
    match schedule.missed.rule {
        MissedRule::Skip => missed,
        MissedRule::RunOnce => missed.saturating_sub(1),
        MissedRule::RunAll => missed.saturating_sub(schedule.missed.catch_up_limit.into()),
    }
}

/// Takes in how an attempt has ended.
fn finish(schedule: &Schedule, run: &ScheduleRun, outcome: Outcome, now: OffsetDateTime) -> Turn {
    let mut run = run.clone();
    run.state = match outcome {
        Outcome::Completed => {
            run.failure = None;
            RunState::Completed
        }
        Outcome::Review => RunState::Review,
        Outcome::Refused(failure) => {
            let is_hopeless = HOPELESS.contains(&failure.reason.as_str());
            run.failure = Some(failure);
            let retry_at = now + schedule.failures.retry_interval;
            let has_retries = run.transactions.len() <= usize::from(schedule.failures.max_retries);
            if has_retries && !is_hopeless && may_retry(schedule, retry_at) {
                run.state = RunState::Retrying(retry_at);
                return write(schedule.clone(), vec![run]);
            }
            RunState::Failed
        }
    };
    run.ended_at = Some(now);
    ended(schedule, run, now)
}

/// What a run that has ended does to its schedule.
fn ended(schedule: &Schedule, run: ScheduleRun, now: OffsetDateTime) -> Turn {
    let mut after = schedule.clone();
    match run.state {
        RunState::Completed => after.failures_in_a_row = 0,
        RunState::Failed => after.failures_in_a_row += 1,
        RunState::Started | RunState::Retrying(_) | RunState::Skipped | RunState::Review => {}
    }
    let may_fail = i32::from(schedule.failures.pause_after);
    if after.state == State::Active {
        if after.next_run_at.is_none() {
            after.turn_to(State::Ended, now);
        } else if after.failures_in_a_row >= may_fail {
            after.turn_to(State::Paused(PauseCause::FailedRuns), now);
        }
    }
    write(after, vec![run])
}

fn write(schedule: Schedule, runs: Vec<ScheduleRun>) -> Turn {
    Turn::Write(Box::new(Change { schedule, runs }))
}

#[cfg(test)]
mod tests;
