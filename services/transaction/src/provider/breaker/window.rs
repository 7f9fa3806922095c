//! What the last calls have shown, counted in a window that slides with time.
//!
//! The window has ten slots. A slot is forgotten as a whole, so what is counted
//! is between nine and ten tenths of the window old at most.

use std::time::{Duration, Instant};

/// How many slots a window has.
pub(super) const SLOTS: u64 = 10;

/// How many calls were counted, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) calls: u32,
    pub(super) failures: u32,
}

/// The counts of the last slots.
#[derive(Clone, Debug)]
pub(super) struct Window {
    origin: Instant,
    slot: Duration,
    /// The number of the newest slot, counted from the origin.
    newest: u64,
    slots: [Tally; SLOTS as usize],
}

impl Window {
    /// An empty window of a length.
    pub(super) fn new(length: Duration, now: Instant) -> Self {
        Self {
            origin: now,
            slot: (length / SLOTS as u32).max(Duration::from_millis(1)),
            newest: 0,
            slots: [Tally::default(); SLOTS as usize],
        }
    }

    /// Counts one call. A caller who read the clock before another one counted
    /// may bring an earlier time; it is counted in the newest slot.
    pub(super) fn count(&mut self, failed: bool, now: Instant) {
        self.slide(now);
        let tally = &mut self.slots[Self::index(self.newest)];
        tally.calls = tally.calls.saturating_add(1);
        tally.failures = tally.failures.saturating_add(u32::from(failed));
    }

    /// What is in the window.
    pub(super) fn tally(&mut self, now: Instant) -> Tally {
        self.slide(now);
        let empty = Tally::default();
        self.slots.iter().fold(empty, |sum, slot| Tally {
            calls: sum.calls.saturating_add(slot.calls),
            failures: sum.failures.saturating_add(slot.failures),
        })
    }

    fn slide(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.origin);
        let current = u64::try_from(age.as_nanos() / self.slot.as_nanos()).unwrap_or(u64::MAX);
        let passed = current.saturating_sub(self.newest).min(SLOTS);
        self.newest = self.newest.max(current);
        for back in 0..passed {
            self.slots[Self::index(self.newest - back)] = Tally::default();
        }
    }

    fn index(slot: u64) -> usize {
        (slot % SLOTS) as usize
    }
}
