//! A breaker: after failures in a row nothing is sent for a while, then one
//! call at a time tries. It bounds what a dead or frozen Redis costs its callers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) struct Breaker {
    failures: AtomicU32,
    /// Milliseconds since `began`; calls wait for it while the breaker is open.
    retry_at_ms: AtomicU64,
    began: Instant,
    threshold: u32,
    pause: Duration,
}

impl Breaker {
    pub(crate) fn new(threshold: u32, pause: Duration) -> Self {
        Self {
            failures: AtomicU32::new(0),
            retry_at_ms: AtomicU64::new(0),
            began: Instant::now(),
            threshold,
            pause,
        }
    }

    /// Whether to send; of the callers after a pause only one may.
    pub(crate) fn allows(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) < self.threshold {
            return true;
        }
        let now = self.now_ms();
        let retry_at = self.retry_at_ms.load(Ordering::Relaxed);
        now >= retry_at
            && self
                .retry_at_ms
                .compare_exchange(
                    retry_at,
                    now + self.pause_ms(),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    pub(crate) fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) >= self.threshold {
            self.retry_at_ms
                .store(self.now_ms() + self.pause_ms(), Ordering::Relaxed);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn pause_ms(&self) -> u64 {
        u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failures in a row open the breaker, and one success closes it.
    #[test]
    fn failures_in_a_row_open_it() {
        let breaker = Breaker::new(3, Duration::from_secs(3600));
        for _ in 0..2 {
            breaker.failed();
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed();
        }
        assert!(breaker.allows());
        breaker.failed();
        assert!(!breaker.allows());
        breaker.succeeded();
        assert!(breaker.allows());
    }

    /// After the pause one call tries and the others still wait.
    #[test]
    fn one_call_tries_after_the_pause() {
        let mut breaker = Breaker::new(1, Duration::ZERO);
        breaker.failed();
        breaker.pause = Duration::from_secs(3600);
        assert!(breaker.allows());
        assert!(!breaker.allows());
    }
}
