//! What to do about one process: a pure function of what is known about it.

use std::time::{Duration, Instant};

/// Pauses before starting again what keeps dying: doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LAST_BACKOFF: Duration = Duration::from_secs(5);
/// A process that was healthy for this long has recovered.
pub const RECOVERED_AFTER: Duration = Duration::from_secs(10);

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Not running; not to be started before then.
    Waiting {
        /// When it may start.
        not_before: Instant,
    },
    /// Running, not seen healthy yet.
    Starting,
    /// Running, and seen healthy since then.
    Up {
        /// When it was first seen healthy.
        since: Instant,
    },
    /// Asked to end, to be replaced.
    Stopping {
        /// When it is made to.
        deadline: Instant,
    },
}

/// What is known about a process at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it runs.
    pub alive: bool,
    /// Whether what it was started from is what the plan says.
    pub current: bool,
    /// Whether the processes it needs have become healthy.
    pub needs_met: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Nothing now.
    Nothing,
    /// Start it.
    Start,
    /// It died by itself: count a failure and wait.
    NoteDeath,
    /// It is out of date: ask it to end.
    AskToEnd,
    /// It did not end in time: make it.
    Kill,
    /// It has ended as asked: start it anew.
    NoteEnd,
}

/// Decides.
#[must_use]
pub fn decide(sight: &Sight, now: Instant) -> Action {
    match sight.phase {
        Phase::Waiting { not_before } if sight.needs_met && now >= not_before => Action::Start,
        Phase::Waiting { .. } => Action::Nothing,
        Phase::Starting | Phase::Up { .. } if !sight.alive => Action::NoteDeath,
        Phase::Starting | Phase::Up { .. } if !sight.current => Action::AskToEnd,
        Phase::Starting | Phase::Up { .. } => Action::Nothing,
        Phase::Stopping { .. } if !sight.alive => Action::NoteEnd,
        Phase::Stopping { deadline } if now >= deadline => Action::Kill,
        Phase::Stopping { .. } => Action::Nothing,
    }
}

/// How long to wait before the start that follows this many failures in a row.
#[must_use]
pub fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_BACKOFF
        .saturating_mul(1 << doublings)
        .min(LAST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(phase: Phase) -> Sight {
        Sight {
            phase,
            alive: true,
            current: true,
            needs_met: true,
        }
    }

    #[test]
    fn a_process_starts_when_its_needs_are_met_and_its_pause_is_over() {
        // Both conditions are needed.
        let now = Instant::now();
        let waiting = sight(Phase::Waiting { not_before: now });
        assert_eq!(decide(&waiting, now), Action::Start);
        assert_eq!(
            decide(
                &Sight {
                    needs_met: false,
                    ..waiting
                },
                now
            ),
            Action::Nothing
        );
        let paused = sight(Phase::Waiting {
            not_before: now + Duration::from_secs(1),
        });
        assert_eq!(decide(&paused, now), Action::Nothing);
    }

    #[test]
    fn a_death_is_noted_before_anything_else() {
        // A dead process is not asked to end, even when it is out of date.
        let now = Instant::now();
        for phase in [Phase::Starting, Phase::Up { since: now }] {
            let dead = Sight {
                alive: false,
                current: false,
                ..sight(phase)
            };
            assert_eq!(decide(&dead, now), Action::NoteDeath);
        }
    }

    #[test]
    fn an_outdated_process_is_asked_once_and_killed_at_the_deadline() {
        // Up, then stopping, then killed, then replaced.
        let now = Instant::now();
        let up = Sight {
            current: false,
            ..sight(Phase::Up { since: now })
        };
        assert_eq!(decide(&up, now), Action::AskToEnd);
        let deadline = now + Duration::from_secs(1);
        let stopping = Sight {
            current: false,
            ..sight(Phase::Stopping { deadline })
        };
        assert_eq!(decide(&stopping, now), Action::Nothing);
        assert_eq!(decide(&stopping, deadline), Action::Kill);
        assert_eq!(
            decide(
                &Sight {
                    alive: false,
                    ..stopping
                },
                now
            ),
            Action::NoteEnd
        );
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        // Never longer than the bound, however often it failed.
        assert_eq!(backoff(1), FIRST_BACKOFF);
        assert_eq!(backoff(2), FIRST_BACKOFF * 2);
        assert_eq!(backoff(u32::MAX), LAST_BACKOFF);
    }
}
