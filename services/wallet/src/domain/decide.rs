//! Decides one posting against the book.
//!
//! | phase | looks at | refuses with |
//! |---|---|---|
//! | 1. shape | the legs' amounts and currencies | UNBALANCED |
//! | 2. wallets | each leg's wallet, in order | WALLET_NOT_FOUND, CURRENCY_MISMATCH, WALLET_CLOSED, WALLET_FROZEN |
//! | 3. hold | the hold step against the legs | HOLD_NOT_FOUND, HOLD_MANAGED, HOLD_NOT_ACTIVE, HOLD_EXPIRED, HOLD_MISMATCH |
//! | 4. bonus | the bonus step against the legs | GRANT_NOT_FOUND, GRANT_NOT_ACTIVE, GRANT_MISMATCH, GRANT_CAP_EXCEEDED |
//! | 5. money | each leg applied to its bucket, in order | INSUFFICIENT_FUNDS, BALANCE_OVERFLOW |
//! | 6. limits | what each wallet spent | SINGLE_, DAILY_, MONTHLY_LIMIT_EXCEEDED |
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

use self::money::Moved;
use super::bonus::{self, BonusStep, GrantChange};
use super::book::Book;
use super::hold::{self, HoldAction, HoldChange};
use super::limit::Allowance;
use super::posting::{
    Account, Leg, LegBucket, Posting, PostingKind, Recorded, RecordedLeg, Rejected, RejectionReason,
};
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
    /// The entries in the order of the legs: one a leg, or two for a leg that
    /// took available and bonus money.
    pub entries: Vec<Entry>,
    /// The wallets after it, each once.
    pub wallets: Vec<Wallet>,
    /// What it did to a hold.
    pub hold: Option<HoldChange>,
    /// What it did to grants of bonus money.
    pub grants: Vec<GrantChange>,
    /// What is used up of the limits of wallets that have some, each once.
    pub allowances: Vec<Allowance>,
    /// What it did to users' wallets.
    pub movements: Vec<Movement>,
}

/// Decides a posting that is not in the ledger. It is recorded at `now`, or a
/// little later when one of its wallets has a posting from after `now`, which
/// the clock of another replica can bring about.
pub fn decide(book: &Book, posting: &Posting, now: OffsetDateTime) -> Result<Applied, Rejected> {
    check_shape(&posting.legs)?;
    let mut recorded_at = now;
    for (index, leg) in posting.legs.iter().enumerate() {
        let wallet = check_wallet(book, posting, leg).map_err(|reason| reason.at(index))?;
        recorded_at = wallet
            .posted_at
            .map_or(recorded_at, |at| recorded_at.max(at));
    }
    let hold = hold::decide(book, posting, recorded_at)?;
    let granted = bonus::decide(book, posting, recorded_at)?;
    let Moved {
        entries,
        mut wallets,
        spent_grants,
    } = money::apply(book, posting, recorded_at)?;
    let allowances = allowances(book, posting, &wallets, hold.as_ref(), recorded_at)?;
    let mut movements = Vec::with_capacity(wallets.len());
    for wallet in &mut wallets {
        wallet.posted_at = Some(recorded_at);
        movements.extend(movement(wallet, &entries));
    }
    let legs = entries
        .iter()
        .map(|entry| RecordedLeg {
            wallet: entry.wallet,
            owner: book.wallet(entry.wallet).and_then(|wallet| wallet.owner),
            bucket: entry.bucket,
            amount: entry.amount,
            version: entry.version,
            balance_after: entry.balance_after,
        })
        .collect();
    Ok(Applied {
        recorded: Recorded {
            id: posting.id,
            tenant: posting.tenant.clone(),
            fingerprint: posting.fingerprint,
            recorded_at,
            legs,
        },
        entries,
        wallets,
        hold,
        grants: granted.into_iter().chain(spent_grants).collect(),
        allowances,
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
fn check_wallet<'a>(
    book: &'a Book,
    posting: &Posting,
    leg: &Leg,
) -> Result<&'a Wallet, RejectionReason> {
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
    // Bonus money whose time is over goes back, frozen or not.
    let takes_spendable = leg.amount.is_negative()
        && leg.bucket != LegBucket::Of(Bucket::Held)
        && !matches!(posting.bonus, Some(BonusStep::Expire(_)));
    match wallet.status {
        WalletStatus::Closed => Err(RejectionReason::WalletClosed),
        WalletStatus::Frozen if takes_spendable => Err(RejectionReason::WalletFrozen),
        WalletStatus::Frozen | WalletStatus::Active => Ok(wallet),
    }
}

/// Phase 6: the allowances of the wallets that spent or got back what they spent.
fn allowances(
    book: &Book,
    posting: &Posting,
    wallets: &[Wallet],
    hold: Option<&HoldChange>,
    now: OffsetDateTime,
) -> Result<Vec<Allowance>, Rejected> {
    let mut changed = Vec::new();
    for wallet in wallets.iter().filter(|wallet| wallet.has_limits) {
        let (Some(allowance), Some(before)) = (book.allowance(wallet.id), book.wallet(wallet.id))
        else {
            continue;
        };
        // Neither sum leaves the range of i128.
        let gained = wallet.balance.spendable() - before.balance.spendable();
        let fault = || {
            let leg = posting
                .legs
                .iter()
                .position(|leg| leg.account.wallet_id() == wallet.id);
            move |reason| Rejected { reason, leg }
        };
        if spends(posting) && gained < 0 {
            let spent = i64::try_from(-gained).unwrap_or(i64::MAX);
            changed.push(allowance.spend(spent, now).map_err(fault())?);
        } else if let Some(placed) = hold.and_then(|change| change.before.as_ref())
            && placed.wallet == wallet.id
            && gained > 0
        {
            let back = i64::try_from(gained).unwrap_or(i64::MAX);
            changed.push(allowance.give_back(back, placed.placed_at, now));
        }
    }
    Ok(changed)
}

/// Whether what a posting takes from a wallet counts against its limits.
fn spends(posting: &Posting) -> bool {
    match (&posting.hold, posting.kind) {
        (Some(step), _) => step.action == HoldAction::Place,
        (None, PostingKind::Transfer) => true,
        (
            None,
            PostingKind::Deposit
            | PostingKind::Hold
            | PostingKind::HoldCapture
            | PostingKind::HoldVoid
            | PostingKind::HoldExpiry
            | PostingKind::Adjustment
            | PostingKind::BonusFunding
            | PostingKind::BonusGrant
            | PostingKind::BonusConversion
            | PostingKind::BonusExpiry,
        ) => false,
    }
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

mod money;
#[cfg(test)]
mod tests;
