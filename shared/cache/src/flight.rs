//! The loads under way in this process, one a key.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// How a load ended: with a value, with none, or with what its loader said.
pub(crate) type Landing<T> = Result<Option<T>, String>;

pub(crate) struct Flights<T> {
    under_way: Mutex<HashMap<String, watch::Receiver<Option<Landing<T>>>>>,
}

/// What a caller has to do.
pub(crate) enum Ticket<'a, T> {
    /// Load, and tell the others.
    Lead(Flight<'a, T>),
    /// Wait for another's load.
    Join(watch::Receiver<Option<Landing<T>>>),
}

/// A load under way. Dropped without landing (its caller was cancelled), it lets
/// one of those who wait load instead.
pub(crate) struct Flight<'a, T> {
    flights: &'a Flights<T>,
    key: &'a str,
    landing: watch::Sender<Option<Landing<T>>>,
}

impl<T: Clone> Flights<T> {
    pub(crate) fn new() -> Self {
        Self {
            under_way: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn board<'a>(&'a self, key: &'a str) -> Ticket<'a, T> {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = under_way.get(key) {
            return Ticket::Join(landing.clone());
        }
        let (landing, waiting) = watch::channel(None);
        under_way.insert(key.to_owned(), waiting);
        Ticket::Lead(Flight {
            flights: self,
            key,
            landing,
        })
    }

    /// Which of the keys are being loaded.
    pub(crate) fn contain<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Vec<bool> {
        let under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keys.map(|key| under_way.contains_key(key)).collect()
    }
}

impl<T> Flight<'_, T> {
    pub(crate) fn land(self, landing: Landing<T>) {
        self.landing.send_replace(Some(landing));
    }
}

impl<T> Drop for Flight<'_, T> {
    fn drop(&mut self) {
        self.flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.key);
    }
}

/// The landing; none when the load was given up.
pub(crate) async fn landing<T: Clone>(
    mut waiting: watch::Receiver<Option<Landing<T>>>,
) -> Option<Landing<T>> {
    let landed = waiting.wait_for(Option::is_some).await.ok()?;
    landed.clone()
}
