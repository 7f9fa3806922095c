//! Waiting before trying again: twice as long each time, with jitter, so that
//! instances that failed together do not come back together.

use std::time::Duration;

/// How long to wait before trying again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The longest first wait.
    pub(crate) first: Duration,
    /// The longest wait of all.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row, at least 1: between half
    /// of the full wait and all of it.
    pub(crate) fn wait(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        let half = full / 2;
        half + rand::random_range(Duration::ZERO..=half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits double up to the longest and never fall below half of their size.
    #[test]
    fn waits_grow_within_bounds() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(2),
        };
        for (failures, full_ms) in [(1, 100), (2, 200), (5, 1600), (6, 2000), (u32::MAX, 2000)] {
            let full = Duration::from_millis(full_ms);
            for _ in 0..100 {
                let wait = backoff.wait(failures);
                assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?}");
            }
        }
    }
}
