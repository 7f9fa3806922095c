//! A hold: money of one wallet set aside until it is captured or given back.
//!
//! A hold lives exactly as long as its money is in the wallet's held bucket.
//! Only postings that name a hold may touch that bucket, so the bucket always
//! equals the sum of the wallet's active holds.

use bursar_aip::id::{HoldId, WalletId};

use super::book::Book;
use super::posting::{Account, HoldStep, Leg, Posting, Rejected, RejectionReason};
use super::wallet::Bucket;

/// How far a hold has come. Every state but the first is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldStatus {
    /// The money is set aside.
    Active,
    /// The money went where it was meant for.
    Captured,
    /// The money went back.
    Voided,
}

/// What a posting does to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldAction {
    /// Opens it: available money of one wallet becomes held money.
    Place,
    /// Ends it: all its money goes to other wallets.
    Capture,
    /// Ends it: all its money becomes available again.
    Void,
}

/// A hold as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The id.
    pub id: HoldId,
    /// The wallet whose money it is.
    pub wallet: WalletId,
    /// How much is set aside, in minor units; more than 0.
    pub amount: i64,
    /// How far it has come.
    pub status: HoldStatus,
}

/// What a posting changes about a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldChange {
    /// What was done.
    pub action: HoldAction,
    /// The hold after it.
    pub after: Hold,
}

/// Decides what a posting does to holds: nothing, or what its hold step says.
/// The legs are balanced and their wallets exist.
pub(super) fn decide(book: &Book, posting: &Posting) -> Result<Option<HoldChange>, Rejected> {
    let Some(step) = &posting.hold else {
        // Held money without a hold would break the bucket's meaning.
        return match posting
            .legs
            .iter()
            .position(|leg| leg.bucket == Bucket::Held)
        {
            Some(index) => Err(RejectionReason::HoldMismatch.at(index)),
            None => Ok(None),
        };
    };
    let after = match step.action {
        HoldAction::Place => place(book, posting, step)?,
        HoldAction::Capture => end(book, posting, step, HoldStatus::Captured, is_capture)?,
        HoldAction::Void => end(book, posting, step, HoldStatus::Voided, is_void)?,
    };
    Ok(Some(HoldChange {
        action: step.action,
        after,
    }))
}

fn place(book: &Book, posting: &Posting, step: &HoldStep) -> Result<Hold, Rejected> {
    let mismatch = RejectionReason::HoldMismatch.whole();
    let (Some(held), Some(available)) = pair(&posting.legs) else {
        return Err(mismatch);
    };
    // The legs are balanced: what held gains is what available loses.
    let is_place = held.account.wallet_id() == available.account.wallet_id()
        && matches!(held.account, Account::User(_))
        && held.amount.is_positive();
    if !is_place || book.hold(step.hold).is_some() {
        return Err(mismatch);
    }
    Ok(Hold {
        id: step.hold,
        wallet: held.account.wallet_id(),
        amount: held.amount.get(),
        status: HoldStatus::Active,
    })
}

fn end(
    book: &Book,
    posting: &Posting,
    step: &HoldStep,
    status: HoldStatus,
    fits: fn(&[Leg], &Hold) -> bool,
) -> Result<Hold, Rejected> {
    let not_found = RejectionReason::HoldNotFound.whole();
    let hold = book.hold(step.hold).ok_or(not_found)?;
    // The hold must belong to a wallet of the posting, or it is as good as absent.
    let is_touched = posting
        .legs
        .iter()
        .any(|leg| leg.account.wallet_id() == hold.wallet);
    if !is_touched {
        return Err(not_found);
    }
    match hold.status {
        HoldStatus::Active => {}
        HoldStatus::Captured | HoldStatus::Voided => {
            return Err(RejectionReason::HoldNotActive.whole());
        }
    }
    if !fits(&posting.legs, hold) {
        return Err(RejectionReason::HoldMismatch.whole());
    }
    Ok(Hold {
        status,
        ..hold.clone()
    })
}

/// One leg takes exactly the hold's money out of held, and every other leg is
/// on another wallet and touches no held money.
fn is_capture(legs: &[Leg], hold: &Hold) -> bool {
    let (own, others): (Vec<&Leg>, Vec<&Leg>) = legs
        .iter()
        .partition(|leg| leg.account.wallet_id() == hold.wallet);
    let takes_all = matches!(own.as_slice(), [leg] if takes_hold(leg, hold));
    takes_all && others.iter().all(|leg| leg.bucket != Bucket::Held)
}

/// Two legs on the hold's wallet: its money out of held and into available.
fn is_void(legs: &[Leg], hold: &Hold) -> bool {
    let (Some(held), Some(available)) = pair(legs) else {
        return false;
    };
    takes_hold(held, hold) && available.account.wallet_id() == hold.wallet
}

fn takes_hold(leg: &Leg, hold: &Hold) -> bool {
    leg.account.wallet_id() == hold.wallet
        && leg.bucket == Bucket::Held
        && leg.amount.get().checked_neg() == Some(hold.amount)
}

/// The held and the available leg of a posting that has one of each and no more.
fn pair(legs: &[Leg]) -> (Option<&Leg>, Option<&Leg>) {
    let find = |bucket| legs.iter().find(|leg| leg.bucket == bucket);
    if legs.len() == 2 {
        (find(Bucket::Held), find(Bucket::Available))
    } else {
        (None, None)
    }
}
