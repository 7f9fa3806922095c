//! The provider's clock. It shows the real time until a test sets it.

use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use time::macros::datetime;

/// The times that it may be set to: far enough for any test, and far enough from
/// what a time can be at all that sums with delays stay times.
const EARLIEST: OffsetDateTime = datetime!(2000-01-01 00:00 UTC);
const LATEST: OffsetDateTime = datetime!(2200-01-01 00:00 UTC);

/// How the clock goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// How far it is ahead of the real time while it runs.
    pub ahead: time::Duration,
    /// Where it stands, when it stands.
    pub frozen_at: Option<OffsetDateTime>,
}

/// What is done to the clock. Everything that is given happens, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockChange {
    /// Set it.
    pub now: Option<OffsetDateTime>,
    /// Put it forward.
    pub advance: Option<Duration>,
    /// Stop it, or let it run.
    pub frozen: Option<bool>,
}

/// The clock would show a time that it may not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the clock goes from the year 2000 to the year 2200")]
pub(crate) struct ClockOutOfBounds;

impl Clock {
    /// The clock that nobody has set.
    pub(crate) const REAL: Self = Self {
        ahead: time::Duration::ZERO,
        frozen_at: None,
    };

    /// What it shows.
    pub(crate) fn now(&self, real: OffsetDateTime) -> OffsetDateTime {
        self.frozen_at.unwrap_or(real + self.ahead)
    }

    /// The clock after a change.
    pub(crate) fn changed(
        &self,
        change: ClockChange,
        real: OffsetDateTime,
    ) -> Result<Self, ClockOutOfBounds> {
        let mut shown = change.now.unwrap_or_else(|| self.now(real));
        if let Some(advance) = change.advance {
            let advance = time::Duration::try_from(advance).map_err(|_| ClockOutOfBounds)?;
            shown = shown.checked_add(advance).ok_or(ClockOutOfBounds)?;
        }
        if !(EARLIEST..LATEST).contains(&shown) {
            return Err(ClockOutOfBounds);
        }
        if change.frozen.unwrap_or(self.frozen_at.is_some()) {
            Ok(Self {
                ahead: time::Duration::ZERO,
                frozen_at: Some(shown),
            })
        } else {
            Ok(Self {
                ahead: shown - real,
                frozen_at: None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: OffsetDateTime = datetime!(2025-01-02 03:04:05 UTC);
    const LATER: OffsetDateTime = datetime!(2025-01-02 04:04:05 UTC);

    fn changed(clock: Clock, change: ClockChange) -> Clock {
        clock.changed(change, REAL).expect("within bounds")
    }

    /// An untouched clock shows the real time; a set one runs on from there; a
    /// frozen one stands, until it is put forward or runs again.
    #[test]
    fn it_runs_or_stands() {
        assert_eq!(Clock::REAL.now(REAL), REAL);
        let day = datetime!(2030-06-01 12:00 UTC);
        let set = ClockChange {
            now: Some(day),
            ..ClockChange::default()
        };
        let running = changed(Clock::REAL, set);
        assert_eq!(running.now(LATER), day + time::Duration::HOUR);
        let freeze = ClockChange {
            frozen: Some(true),
            ..set
        };
        let standing = changed(Clock::REAL, freeze);
        assert_eq!(standing.now(LATER), day);
        let advance = ClockChange {
            advance: Some(Duration::from_secs(60)),
            ..ClockChange::default()
        };
        let standing = changed(standing, advance);
        assert_eq!(standing.now(LATER), day + time::Duration::MINUTE);
        let run = ClockChange {
            frozen: Some(false),
            ..ClockChange::default()
        };
        let running = changed(standing, run);
        assert_eq!(running.now(REAL), day + time::Duration::MINUTE);
    }

    /// Times with which sums could overflow are refused.
    #[test]
    fn it_stays_in_bounds() {
        for now in [
            datetime!(1999-12-31 23:59 UTC),
            datetime!(2200-01-01 00:00 UTC),
        ] {
            let change = ClockChange {
                now: Some(now),
                ..ClockChange::default()
            };
            assert_eq!(Clock::REAL.changed(change, REAL), Err(ClockOutOfBounds));
        }
        let change = ClockChange {
            advance: Some(Duration::MAX),
            ..ClockChange::default()
        };
        assert_eq!(Clock::REAL.changed(change, REAL), Err(ClockOutOfBounds));
    }
}
