//! Phase 5 of a decision: the legs applied to their buckets, in order.

use time::OffsetDateTime;

use super::Entry;
use crate::domain::bonus::{self, BonusGrant, GrantChange};
use crate::domain::book::{Book, SpendOrder};
use crate::domain::posting::{Leg, LegBucket, Posting, Rejected, RejectionReason};
use crate::domain::wallet::{Bucket, Wallet};

/// What the legs of a posting did.
pub(super) struct Moved {
    /// The entries, in the order of the legs.
    pub(super) entries: Vec<Entry>,
    /// The wallets after it, each once.
    pub(super) wallets: Vec<Wallet>,
    /// The grants that were spent from.
    pub(super) spent_grants: Vec<GrantChange>,
}

/// Applies the legs of a posting whose wallets exist and may be changed.
pub(super) fn apply(
    book: &Book,
    posting: &Posting,
    now: OffsetDateTime,
) -> Result<Moved, Rejected> {
    let mut moving = Moving {
        book,
        posting,
        now,
        entries: Vec::with_capacity(posting.legs.len()),
        wallets: Vec::with_capacity(posting.legs.len()),
        grants: Vec::new(),
    };
    for (index, leg) in posting.legs.iter().enumerate() {
        moving.leg(leg).map_err(|reason| reason.at(index))?;
    }
    let spent = moving.grants.into_iter().filter_map(|after| {
        let before = book.grant(after.id)?;
        (*before != after).then(|| GrantChange {
            before: Some(before.clone()),
            after,
        })
    });
    Ok(Moved {
        spent_grants: spent.collect(),
        entries: moving.entries,
        wallets: moving.wallets,
    })
}

struct Moving<'a> {
    book: &'a Book,
    posting: &'a Posting,
    now: OffsetDateTime,
    entries: Vec<Entry>,
    wallets: Vec<Wallet>,
    /// The grants of wallets whose spendable money was taken.
    grants: Vec<BonusGrant>,
}

impl Moving<'_> {
    fn leg(&mut self, leg: &Leg) -> Result<(), RejectionReason> {
        let place = self.wallet(leg)?;
        let amount = leg.amount.get();
        match leg.bucket {
            LegBucket::Of(bucket) => self.change(place, bucket, amount),
            LegBucket::Spendable => {
                let bonus = self.bonus_part(place, amount);
                let available = amount
                    .checked_add(bonus)
                    .ok_or(RejectionReason::BalanceOverflow)?;
                if available != 0 {
                    self.change(place, Bucket::Available, available)?;
                }
                if bonus != 0 {
                    self.change(place, Bucket::Bonus, -bonus)?;
                }
                Ok(())
            }
        }
    }

    /// The place of the leg's wallet among those that the posting changes.
    fn wallet(&mut self, leg: &Leg) -> Result<usize, RejectionReason> {
        let id = leg.account.wallet_id();
        // A posting has at most 32 legs: looking through them beats hashing.
        if let Some(place) = self.wallets.iter().position(|wallet| wallet.id == id) {
            return Ok(place);
        }
        let before = self
            .book
            .wallet(id)
            .ok_or(RejectionReason::WalletNotFound)?;
        self.wallets.push(before.clone());
        Ok(self.wallets.len() - 1)
    }

    fn change(&mut self, place: usize, bucket: Bucket, amount: i64) -> Result<(), RejectionReason> {
        let wallet = &mut self.wallets[place];
        let floor = wallet.floor(bucket);
        let balance = wallet.balance.of_mut(bucket);
        let after = balance
            .checked_add(amount)
            .ok_or(RejectionReason::BalanceOverflow)?;
        if amount.is_negative() && after < floor {
            return Err(RejectionReason::InsufficientFunds);
        }
        *balance = after;
        wallet.version += 1;
        self.entries.push(Entry {
            wallet: wallet.id,
            version: wallet.version,
            bucket,
            amount,
            balance_after: after,
            currency: wallet.currency,
        });
        Ok(())
    }

    /// How much of `amount`, when it is taken, comes from bonus money. The
    /// grants are spent by as much.
    fn bonus_part(&mut self, place: usize, amount: i64) -> i64 {
        let wallet = &self.wallets[place];
        let order = self.book.spend_order();
        if amount >= 0 || wallet.balance.bonus == 0 || order == SpendOrder::AvailableOnly {
            return 0;
        }
        let id = wallet.id;
        let available = wallet.balance.available;
        if !self.grants.iter().any(|grant| grant.wallet == id) {
            self.grants.extend(self.book.grants_of(id).cloned());
        }
        // The contract's bound keeps the amount far from the lowest i64.
        let wanted = match order {
            SpendOrder::BonusFirst => amount.saturating_neg(),
            SpendOrder::AvailableFirst => amount.saturating_neg() - available.max(0),
            SpendOrder::AvailableOnly => 0,
        };
        let (mut own, others): (Vec<BonusGrant>, Vec<BonusGrant>) =
            self.grants.drain(..).partition(|grant| grant.wallet == id);
        let usable: i64 = own
            .iter()
            .filter(|grant| grant.is_usable(self.now))
            .map(|grant| grant.remaining)
            .sum();
        let taken = wanted.clamp(0, usable);
        if taken > 0 {
            bonus::spend(&mut own, taken, self.posting.id, self.now);
        }
        self.grants = others;
        self.grants.append(&mut own);
        taken
    }
}
