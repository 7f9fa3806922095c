//! A bulkhead: how many calls of one kind may be under way with one provider.
//!
//! A provider that hangs fills its own places and nobody else's. Acting and
//! looking have places of their own, so that requests which hang do not keep us
//! from finding out what became of them. Nobody waits for a place: what is
//! refused has certainly not been sent, and comes back by its check.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::ProviderName;
use crate::watch;

/// How many calls may be under way with one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BulkheadSettings {
    /// Requests to act.
    pub(crate) acting: usize,
    /// Questions about what became of one.
    pub(crate) looking: usize,
}

impl Default for BulkheadSettings {
    fn default() -> Self {
        Self {
            acting: 128,
            looking: 32,
        }
    }
}

/// The places for one kind of call.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    provider: ProviderName,
    kind: &'static str,
    places: Semaphore,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    bulkhead: &'a Bulkhead,
    _permit: SemaphorePermit<'a>,
}

impl Bulkhead {
    /// So many places for calls of a kind, named so in metrics.
    pub(crate) fn new(provider: ProviderName, kind: &'static str, places: usize) -> Self {
        Self {
            provider,
            kind,
            places: Semaphore::new(places),
        }
    }

    /// Takes a place; `None` when all are taken.
    pub(crate) fn enter(&self) -> Option<Place<'_>> {
        let permit = self.places.try_acquire().ok()?;
        watch::bulkhead_entered(&self.provider, self.kind);
        Some(Place {
            bulkhead: self,
            _permit: permit,
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        watch::bulkhead_left(&self.bulkhead.provider, self.bulkhead.kind);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However places are taken and left, there are never more taken than
        /// there are, and one is refused only when all are taken.
        #[test]
        fn places_are_bounded(places in 1..5_usize, enters in prop::collection::vec(any::<bool>(), 0..40)) {
            let name = "alpha".parse().expect("a name");
            let bulkhead = Bulkhead::new(name, "acting", places);
            let mut taken = Vec::new();
            for enter in enters {
                if !enter {
                    taken.pop();
                    continue;
                }
                let is_full = taken.len() == places;
                let place = bulkhead.enter();
                prop_assert_eq!(place.is_none(), is_full);
                taken.extend(place);
            }
        }
    }
}
