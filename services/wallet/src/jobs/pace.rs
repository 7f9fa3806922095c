//! How much of the time background work may take.
//!
//! It works in slices and rests after each for as long as its share asks, so
//! that calls, which are what the machine is for, find it mostly idle. Time is
//! measured on the wall: what the work waits for, such as a busy database, makes
//! it rest the longer.

use std::time::Duration;

/// The longest rest, so that a slice that was slow once does not stop the work.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// A share of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    percent: u32,
}

impl Share {
    /// A share of 1 to 100 percent; anything else is taken for the nearest of them.
    pub fn percent(percent: u32) -> Self {
        Self {
            percent: percent.clamp(1, 100),
        }
    }

    /// How long to rest after working for `used`.
    pub fn rest_after(self, used: Duration) -> Duration {
        (used * (100 - self.percent) / self.percent).min(LONGEST_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work and rest have the share's proportion, and rest has an end.
    #[test]
    fn rest_is_in_proportion() {
        let rest =
            |percent, used_ms| Share::percent(percent).rest_after(Duration::from_millis(used_ms));
        assert_eq!(rest(10, 20), Duration::from_millis(180));
        assert_eq!(rest(50, 20), Duration::from_millis(20));
        assert_eq!(rest(100, 20), Duration::ZERO);
        assert_eq!(rest(0, 10), Duration::from_millis(990));
        assert_eq!(rest(1, 3_600_000), LONGEST_REST);
    }
}
