//! One state of the world: what the database, the ledger and the provider have,
//! what two workers are doing, and what is still on its way.

use crate::ledger::{Ledger, Slip};
use crate::machine::{Known, Noted, Task};
use crate::provider::Desk;

/// A state of the world. Nothing in it grows without bound: an epoch is no
/// number but whether a run still has the newest one, and crashes are not counted,
/// so there may be any number of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// In units of the cast's clock.
    pub(crate) clock: u8,
    /// The database's row of each transaction, once its intent is committed.
    pub(crate) rows: [Option<Row>; 2],
    /// What each worker does. A worker is a process that takes a request or does
    /// the work of recovery, one at a time.
    pub(crate) workers: [Option<Run>; 2],
    /// Messages that nobody waits for. Each may arrive at any time and any number
    /// of times, or never.
    pub(crate) late: Vec<Message>,
    pub(crate) ledger: Ledger,
    /// The provider's books about each transaction.
    pub(crate) desks: [Desk; 2],
}

/// A transaction in the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) known: Known,
    pub(crate) note: Option<Noted>,
    /// An event was appended after the last one.
    pub(crate) went_on_after_the_end: bool,
    /// A run has written over what it did not know of.
    pub(crate) was_overwritten: bool,
}

/// A run of one transaction by a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) tx: usize,
    /// The transaction as the run knows it.
    pub(crate) known: Known,
    pub(crate) note: Option<Noted>,
    /// Another attempt of the same posting may be under way.
    pub(crate) loose_end: bool,
    /// No other run has got the lease since; the epoch's comparison.
    pub(crate) holds_lease: bool,
    /// What it is to do next; recorded, if it had to be.
    pub(crate) task: Task,
    /// When the provider said "not found" to it, while that is on its way.
    pub(crate) not_found_at: Option<u8>,
}

/// A request that was sent and is not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    Post(Slip),
    /// An order to the provider, and until when it may be taken.
    Order {
        tx: usize,
        until: u8,
    },
}

impl World {
    /// Leaves a message on its way.
    pub(crate) fn leave(&mut self, message: Message) {
        if let Err(place) = self.late.binary_search(&message) {
            self.late.insert(place, message);
        }
    }

    /// True when nothing is under way and nothing is owed to anybody.
    pub(crate) fn has_ended(&self) -> bool {
        let mut rows = self.rows.iter().flatten();
        self.workers.iter().all(Option::is_none) && rows.all(|row| row.known.state.is_at_rest())
    }
}
