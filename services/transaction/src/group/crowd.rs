//! How many calls are on their way through groups that each of them passes in turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Where a call can be: in one of three groups, or between its answer and the next call
/// of whoever waits for it.
const PLACES: usize = 4;
/// For how long a crowd is remembered at least.
const MEMORY: Duration = Duration::from_millis(200);

/// The calls of some groups.
#[derive(Clone)]
pub(crate) struct Crowd(Arc<Counts>);

struct Counts {
    present: AtomicUsize,
    most: Mutex<Most>,
}

/// The most calls that were seen at once.
struct Most {
    since: Instant,
    /// Since then.
    now: usize,
    /// In the time before.
    before: usize,
}

/// One call's presence, until it is dropped.
pub(super) struct Present(Crowd);

impl Crowd {
    pub(crate) fn new() -> Self {
        let most = Most {
            since: Instant::now(),
            now: 0,
            before: 0,
        };
        Self(Arc::new(Counts {
            present: AtomicUsize::new(0),
            most: Mutex::new(most),
        }))
    }

    /// Counts a call.
    pub(super) fn enter(&self) -> Present {
        self.0.present.fetch_add(1, Ordering::Relaxed);
        Present(self.clone())
    }

    /// How many calls are there.
    pub(super) fn present(&self) -> usize {
        self.0.present.load(Ordering::Relaxed)
    }

    /// Whether so many calls in one place are all that it is worth to wait for: its part
    /// of the crowd, or everybody.
    pub(super) fn is_gathered(&self, here: usize) -> bool {
        let present = self.present();
        here >= present || here >= self.most(present).div_ceil(PLACES)
    }

    /// The most calls that were seen lately, of which `present` are there now.
    fn most(&self, present: usize) -> usize {
        let mut most = self.0.most.lock().unwrap_or_else(PoisonError::into_inner);
        if most.since.elapsed() >= MEMORY {
            *most = Most {
                since: Instant::now(),
                now: 0,
                before: most.now,
            };
        }
        most.now = most.now.max(present);
        most.now.max(most.before)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.0.present.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place has its crowd when a quarter of those who were seen lately is there, or
    /// everybody who is left.
    #[test]
    fn a_quarter_or_everybody_is_a_crowd() {
        let crowd = Crowd::new();
        let alone = crowd.enter();
        assert!(crowd.is_gathered(1));
        let mut others: Vec<_> = (0..8).map(|_| crowd.enter()).collect();
        assert!(!crowd.is_gathered(2));
        assert!(crowd.is_gathered(3));
        others.truncate(2);
        // Nine were there a moment ago, and three are.
        assert!(!crowd.is_gathered(2));
        assert!(crowd.is_gathered(3));
        others.clear();
        assert!(crowd.is_gathered(1));
        drop(alone);
        assert!(crowd.is_gathered(0));
    }
}
