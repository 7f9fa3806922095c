//! How many watches may be open: in the process, and of one user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bursar_aip::id::UserId;

use super::error::Error;

/// How many in the process.
const MAX_WATCHES: usize = 1_000;
/// How many of one user.
const MAX_WATCHES_OF_ONE: usize = 8;

/// The watches that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits(Arc<Mutex<HashMap<UserId, usize>>>);

/// The right to watch; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    limits: Limits,
    user: UserId,
}

impl Limits {
    /// Takes a place, if there is one.
    pub(crate) fn take(&self, user: UserId) -> Result<Place, Error> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&user).copied().unwrap_or(0);
        if all >= MAX_WATCHES || own >= MAX_WATCHES_OF_ONE {
            return Err(Error::WatchersExceeded);
        }
        open.insert(user, own + 1);
        metrics::gauge!("bursar_watches_open").increment(1);
        Ok(Place {
            limits: self.clone(),
            user,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.user);
            }
        }
        metrics::gauge!("bursar_watches_open").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user has eight places and no more, gets one back when a watch ends, and
    /// takes nobody else's.
    #[test]
    fn places_are_bounded_and_come_back() {
        let limits = Limits::default();
        let (alice, bob) = (UserId::generate(), UserId::generate());
        let mut places: Vec<Place> = (0..MAX_WATCHES_OF_ONE)
            .map(|_| limits.take(alice).expect("there is room"))
            .collect();
        assert!(limits.take(alice).is_err());
        let other = limits.take(bob).expect("bob has room");
        places.pop();
        let last = limits.take(alice).expect("one came back");
        drop((places, other, last));
        let open = limits.0.lock().expect("nobody panicked");
        assert!(open.is_empty(), "nothing is left behind");
    }
}
