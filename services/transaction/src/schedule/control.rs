//! What owners and operators do with a schedule.
//!
//! | | ACTIVE | PAUSED | ENDED | CANCELLED |
//! |---|---|---|---|---|
//! | pause | PAUSED | stays; an operator's pause replaces another | refused | refused |
//! | resume | stays | ACTIVE, or ENDED when nothing is to come | refused | refused |
//! | cancel | CANCELLED | CANCELLED | refused | stays |
//!
//! What an operator has paused is resumed by operators only, what the owner has paused
//! by the owner only, and what failed runs have paused by both: nobody's money moves
//! against the will of whoever stopped it.

use thiserror::Error;
use time::OffsetDateTime;

use super::{PauseCause, Schedule, State};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The user who made the schedule.
    Owner {
        /// The tier that the user's token tells.
        tier: u8,
    },
    /// Somebody who may act on everybody's.
    Operator,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// No run begins any more.
    Pause,
    /// Runs begin again.
    Resume,
    /// No run begins ever again.
    Cancel,
}

/// Why it is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ControlError {
    /// It has ended or was cancelled.
    #[error("the schedule is over")]
    Over,
    /// Somebody else has paused it.
    #[error(
        "what an operator has paused is resumed by an operator, what its owner has paused by the owner"
    )]
    NotPermitted,
    /// It has another version.
    #[error("the schedule has changed meanwhile")]
    Changed {
        /// Which.
        version: i64,
    },
}

/// The schedule afterwards; `None` when it is so already. `seen` is the version that
/// the asker knows, if that matters.
pub(crate) fn control(
    schedule: &Schedule,
    wish: Wish,
    asker: Asker,
    seen: Option<i64>,
    now: OffsetDateTime,
) -> Result<Option<Schedule>, ControlError> {
    let version = schedule.version;
    if seen.is_some_and(|seen| seen != version) {
        return Err(ControlError::Changed { version });
    }
    let mut after = schedule.clone();
    let wanted = match asker {
        Asker::Owner { .. } => PauseCause::Owner,
        Asker::Operator => PauseCause::Operator,
    };
    match (wish, schedule.state) {
        (Wish::Pause, State::Active) => after.turn_to(State::Paused(wanted), now),
        (Wish::Pause, State::Paused(cause)) => {
            if cause == wanted || cause == PauseCause::Operator {
                return Ok(None);
            }
            after.turn_to(State::Paused(wanted), now);
        }
        (Wish::Resume, State::Paused(cause)) => {
            if cause != wanted && cause != PauseCause::FailedRuns {
                return Err(ControlError::NotPermitted);
            }
            if let Asker::Owner { tier } = asker {
                after.tier = tier;
            }
            resume(&mut after, now);
        }
        (Wish::Cancel, State::Active | State::Paused(_)) => {
            after.turn_to(State::Cancelled, now);
        }
        (Wish::Resume, State::Active) | (Wish::Cancel, State::Cancelled) => return Ok(None),
        (Wish::Pause | Wish::Resume, State::Ended | State::Cancelled)
        | (Wish::Cancel, State::Ended) => return Err(ControlError::Over),
    }
    Ok(Some(after))
}

/// What was due meanwhile is passed over.
fn resume(schedule: &mut Schedule, now: OffsetDateTime) {
    if schedule.next_run_at.is_some_and(|due| due <= now) {
        schedule.next_run_at = schedule.due_after(now, schedule.run_count);
    }
    schedule.failures_in_a_row = 0;
    let state = match schedule.next_run_at {
        Some(_) => State::Active,
        None => State::Ended,
    };
    schedule.turn_to(state, now);
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, daily};
    use super::*;

    const OWNER: Asker = Asker::Owner { tier: 2 };

    fn ask(schedule: &Schedule, wish: Wish, asker: Asker) -> Result<Option<State>, ControlError> {
        control(schedule, wish, asker, None, at(0)).map(|after| after.map(|after| after.state))
    }

    /// Who stopped a schedule decides who lets it go on.
    #[test]
    fn a_pause_is_ended_by_whoever_made_it() {
        use Asker::Operator;
        let mut schedule = daily();
        for (cause, asker, resumes) in [
            (PauseCause::Owner, OWNER, true),
            (PauseCause::Owner, Operator, false),
            (PauseCause::Operator, OWNER, false),
            (PauseCause::Operator, Operator, true),
            (PauseCause::FailedRuns, OWNER, true),
            (PauseCause::FailedRuns, Operator, true),
        ] {
            schedule.state = State::Paused(cause);
            let expected = match resumes {
                true => Ok(Some(State::Active)),
                false => Err(ControlError::NotPermitted),
            };
            assert_eq!(
                ask(&schedule, Wish::Resume, asker),
                expected,
                "{cause:?} {asker:?}"
            );
        }
        schedule.state = State::Paused(PauseCause::Operator);
        assert_eq!(ask(&schedule, Wish::Pause, OWNER), Ok(None));
        schedule.state = State::Paused(PauseCause::Owner);
        let operators = Ok(Some(State::Paused(PauseCause::Operator)));
        assert_eq!(ask(&schedule, Wish::Pause, Operator), operators);
    }

    /// What is over stays over, and the same wish twice changes nothing.
    #[test]
    fn ends_are_final() {
        let mut schedule = daily();
        for state in [State::Ended, State::Cancelled] {
            schedule.state = state;
            for wish in [Wish::Pause, Wish::Resume, Wish::Cancel] {
                let expected = match (wish, state) {
                    (Wish::Cancel, State::Cancelled) => Ok(None),
                    _ => Err(ControlError::Over),
                };
                assert_eq!(ask(&schedule, wish, OWNER), expected);
            }
        }
        schedule.state = State::Active;
        assert_eq!(ask(&schedule, Wish::Resume, OWNER), Ok(None));
    }

    /// A schedule that was paused over due times goes on with the next one, without the
    /// failures from before; one that was paused over its last has ended.
    #[test]
    fn what_was_due_meanwhile_is_passed_over() {
        let mut schedule = daily();
        schedule.state = State::Paused(PauseCause::Owner);
        schedule.failures_in_a_row = 2;
        let after = control(&schedule, Wish::Resume, OWNER, None, at(50));
        let after = after.expect("the owner may").expect("it changes");
        assert_eq!(after.state, State::Active);
        assert_eq!(after.next_run_at, Some(at(72)));
        assert_eq!((after.failures_in_a_row, after.run_count), (0, 0));
        assert_eq!(after.tier, 2, "it is what the owner's token says now");
        schedule.end_at = Some(at(60));
        let after = control(&schedule, Wish::Resume, OWNER, None, at(50));
        let after = after.expect("the owner may").expect("it changes");
        assert_eq!((after.state, after.next_run_at), (State::Ended, None));
    }

    /// Whoever knows another version is told the right one.
    #[test]
    fn versions_are_compared() {
        let schedule = daily();
        let stale = control(&schedule, Wish::Pause, OWNER, Some(7), at(0));
        assert_eq!(stale, Err(ControlError::Changed { version: 1 }));
        let after = control(&schedule, Wish::Pause, OWNER, Some(1), at(0));
        assert_eq!(after.expect("it is that").expect("it changes").version, 2);
    }
}
