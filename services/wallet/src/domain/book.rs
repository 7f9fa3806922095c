//! The part of the ledger that one batch sees: its wallets and holds, under
//! locks, and those of its postings that are recorded already.

use std::collections::HashMap;

use bursar_aip::id::{HoldId, WalletId};

use super::decide::Applied;
use super::hold::Hold;
use super::posting::{PostingId, Recorded};
use super::wallet::Wallet;

/// Wallets, holds and recorded postings. Whoever fills it holds the row locks
/// of its wallets, so that what is decided on it can be written as decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    wallets: HashMap<WalletId, Wallet>,
    holds: HashMap<HoldId, Hold>,
    recorded: HashMap<PostingId, Recorded>,
}

impl Book {
    /// A book of these wallets, holds and recorded postings.
    pub fn new(
        wallets: impl IntoIterator<Item = Wallet>,
        holds: impl IntoIterator<Item = Hold>,
        recorded: impl IntoIterator<Item = Recorded>,
    ) -> Self {
        Self {
            wallets: wallets
                .into_iter()
                .map(|wallet| (wallet.id, wallet))
                .collect(),
            holds: holds.into_iter().map(|hold| (hold.id, hold)).collect(),
            recorded: recorded
                .into_iter()
                .map(|posting| (posting.id, posting))
                .collect(),
        }
    }

    /// A wallet, if it exists.
    pub fn wallet(&self, id: WalletId) -> Option<&Wallet> {
        self.wallets.get(&id)
    }

    /// A hold, if it exists.
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(&id)
    }

    /// A posting, if it is in the ledger.
    pub fn recorded(&self, id: PostingId) -> Option<&Recorded> {
        self.recorded.get(&id)
    }

    /// Turns the book to what was decided. What it returns turns it back.
    pub fn apply(&mut self, applied: &Applied) -> Undo {
        let wallets = applied
            .wallets
            .iter()
            .filter_map(|wallet| self.wallets.insert(wallet.id, wallet.clone()))
            .collect();
        let hold = applied.hold.as_ref().map(|change| {
            let id = change.after.id;
            (id, self.holds.insert(id, change.after.clone()))
        });
        let posting = applied.recorded.id;
        self.recorded.insert(posting, applied.recorded.clone());
        Undo {
            posting,
            wallets,
            hold,
        }
    }

    /// Turns the book back to before the [`Book::apply`] that returned `undo`.
    /// Of several, the latest comes first.
    pub fn revert(&mut self, undo: Undo) {
        self.recorded.remove(&undo.posting);
        for wallet in undo.wallets {
            self.wallets.insert(wallet.id, wallet);
        }
        match undo.hold {
            Some((id, Some(before))) => {
                self.holds.insert(id, before);
            }
            Some((id, None)) => {
                self.holds.remove(&id);
            }
            None => {}
        }
    }
}

/// What [`Book::apply`] changed, as it was before.
#[derive(Debug)]
pub struct Undo {
    posting: PostingId,
    wallets: Vec<Wallet>,
    hold: Option<(HoldId, Option<Hold>)>,
}
