//! Decides one posting against the book.
//!
//! | phase | looks at | refuses with |
//! |---|---|---|
//! | 1. shape | the legs' amounts and currencies | UNBALANCED |
//! | 2. wallets | each leg's wallet, in order | WALLET_NOT_FOUND, CURRENCY_MISMATCH, WALLET_CLOSED, WALLET_FROZEN |
//! | 3. hold | the hold step against the legs | HOLD_NOT_FOUND, HOLD_NOT_ACTIVE, HOLD_MISMATCH |
//! | 4. money | each leg applied to its bucket, in order | INSUFFICIENT_FUNDS, BALANCE_OVERFLOW |
//!
//! The first refusal of the first phase that refuses is the answer. Legs are
//! applied in order and no leg may leave its bucket below the floor, not even
//! if a later leg would make up for it, so no balance in the history of a
//! wallet is ever below its floor.
//!
//! What is decided here holds only while the wallets' row locks are held.

use std::collections::BTreeMap;

use bursar_aip::id::{UserId, WalletId};
use bursar_money::Currency;
use time::OffsetDateTime;

use super::book::Book;
use super::hold::{self, HoldChange};
use super::posting::{Account, Leg, Posting, Recorded, RecordedLeg, Rejected, RejectionReason};
use super::wallet::{Bucket, Wallet, WalletStatus};

/// One line of a wallet's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The wallet.
    pub wallet: WalletId,
    /// The wallet's version after the entry.
    pub version: i64,
    /// The bucket that changed.
    pub bucket: Bucket,
    /// The change in minor units; never 0.
    pub amount: i64,
    /// The bucket's balance after it.
    pub balance_after: i64,
    /// The wallet's currency.
    pub currency: Currency,
}

/// What a posting did to a wallet over all its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It has more money.
    Credited,
    /// It has less money.
    Debited,
    /// It has the same money in other buckets.
    Moved,
}

/// What a posting did to one user's wallet; one event tells of it. The
/// platform's own wallets have no events: every posting touches one of a few,
/// and what happened to them is told by the events of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The wallet.
    pub wallet: WalletId,
    /// The user it belongs to.
    pub owner: UserId,
    /// The wallet's currency.
    pub currency: Currency,
    /// The sum over its buckets.
    pub direction: Direction,
    /// The version of the event.
    pub event_version: i64,
    /// The wallet's entries in the posting, by version.
    pub entries: Vec<Entry>,
}

/// A posting that was accepted, and everything that is to be written for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What the caller is told.
    pub recorded: Recorded,
    /// The entries, one a leg in the order of the legs.
    pub entries: Vec<Entry>,
    /// The wallets after it, each once.
    pub wallets: Vec<Wallet>,
    /// What it did to a hold.
    pub hold: Option<HoldChange>,
    /// What it did to users' wallets.
    pub movements: Vec<Movement>,
}

/// Decides a posting that is not in the ledger. `now` is the time of recording.
pub fn decide(book: &Book, posting: &Posting, now: OffsetDateTime) -> Result<Applied, Rejected> {
    check_shape(&posting.legs)?;
    for (index, leg) in posting.legs.iter().enumerate() {
        check_wallet(book, posting, leg).map_err(|reason| reason.at(index))?;
    }
    let hold = hold::decide(book, posting)?;
    let (entries, mut wallets) = move_money(book, &posting.legs)?;
    let movements = wallets
        .iter_mut()
        .filter_map(|wallet| movement(wallet, &entries))
        .collect();
    let legs = entries
        .iter()
        .map(|entry| RecordedLeg {
            wallet: entry.wallet,
            owner: book.wallet(entry.wallet).and_then(|wallet| wallet.owner),
            version: entry.version,
            balance_after: entry.balance_after,
        })
        .collect();
    Ok(Applied {
        recorded: Recorded {
            id: posting.id,
            tenant: posting.tenant.clone(),
            fingerprint: posting.fingerprint,
            recorded_at: now,
            legs,
        },
        entries,
        wallets,
        hold,
        movements,
    })
}

/// Phase 1: at least two legs that sum to zero in each currency.
fn check_shape(legs: &[Leg]) -> Result<(), Rejected> {
    let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
    for leg in legs {
        // 2^64 legs would be needed to overflow.
        *sums.entry(leg.currency).or_default() += i128::from(leg.amount.get());
    }
    if legs.len() >= 2 && sums.values().all(|sum| *sum == 0) {
        Ok(())
    } else {
        Err(RejectionReason::Unbalanced.whole())
    }
}

/// Phase 2: the leg's wallet is one that the posting may change so.
fn check_wallet(book: &Book, posting: &Posting, leg: &Leg) -> Result<(), RejectionReason> {
    let wallet = book
        .wallet(leg.account.wallet_id())
        .filter(|wallet| wallet.tenant == posting.tenant)
        .filter(|wallet| match leg.account {
            Account::User(_) => wallet.owner.is_some(),
            Account::System { .. } => wallet.owner.is_none(),
        })
        .filter(|wallet| {
            leg.required_owner
                .is_none_or(|required| wallet.owner == Some(required))
        })
        .ok_or(RejectionReason::WalletNotFound)?;
    if wallet.currency != leg.currency {
        return Err(RejectionReason::CurrencyMismatch);
    }
    let takes_spendable = leg.amount.is_negative() && leg.bucket != Bucket::Held;
    match wallet.status {
        WalletStatus::Closed => Err(RejectionReason::WalletClosed),
        WalletStatus::Frozen if takes_spendable => Err(RejectionReason::WalletFrozen),
        WalletStatus::Frozen | WalletStatus::Active => Ok(()),
    }
}

/// Phase 4: the entries, and the wallets after them.
fn move_money(book: &Book, legs: &[Leg]) -> Result<(Vec<Entry>, Vec<Wallet>), Rejected> {
    let mut wallets: Vec<Wallet> = Vec::with_capacity(legs.len());
    let mut entries = Vec::with_capacity(legs.len());
    for (index, leg) in legs.iter().enumerate() {
        let id = leg.account.wallet_id();
        // A posting has at most 32 legs: looking through them beats hashing.
        let place = match wallets.iter().position(|wallet| wallet.id == id) {
            Some(place) => place,
            None => {
                let before = book
                    .wallet(id)
                    .ok_or(RejectionReason::WalletNotFound.at(index))?;
                wallets.push(before.clone());
                wallets.len() - 1
            }
        };
        let wallet = &mut wallets[place];
        let floor = wallet.floor(leg.bucket);
        let balance = wallet.balance.of_mut(leg.bucket);
        let after = balance
            .checked_add(leg.amount.get())
            .ok_or(RejectionReason::BalanceOverflow.at(index))?;
        if leg.amount.is_negative() && after < floor {
            return Err(RejectionReason::InsufficientFunds.at(index));
        }
        *balance = after;
        wallet.version += 1;
        entries.push(Entry {
            wallet: id,
            version: wallet.version,
            bucket: leg.bucket,
            amount: leg.amount.get(),
            balance_after: after,
            currency: wallet.currency,
        });
    }
    Ok((entries, wallets))
}

/// Counts the wallet's event and says what it tells; `None` for a wallet of
/// the platform.
fn movement(wallet: &mut Wallet, entries: &[Entry]) -> Option<Movement> {
    let owner = wallet.owner?;
    wallet.event_version += 1;
    let entries: Vec<Entry> = entries
        .iter()
        .filter(|entry| entry.wallet == wallet.id)
        .copied()
        .collect();
    let sum: i128 = entries.iter().map(|entry| i128::from(entry.amount)).sum();
    Some(Movement {
        wallet: wallet.id,
        owner,
        currency: wallet.currency,
        direction: match sum.signum() {
            1 => Direction::Credited,
            -1 => Direction::Debited,
            _ => Direction::Moved,
        },
        event_version: wallet.event_version,
        entries,
    })
}

#[cfg(test)]
mod tests;
