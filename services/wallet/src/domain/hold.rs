//! A hold: money of one wallet set aside until it is captured or given back.
//!
//! A hold lives exactly as long as its money is in the wallet's held bucket.
//! Only postings that name a hold may touch that bucket, so the bucket always
//! equals what remains of the wallet's active holds.
//!
//! | action | legs on the hold's wallet | other legs | then the hold |
//! |---|---|---|---|
//! | place | available − amount, held + amount | none | is active |
//! | capture | held − part | the part, to other wallets | is active while something remains, else captured |
//! | final capture | held − all that remains, available + what is not captured | the captured part | is captured |
//! | void, expire | held − all that remains, available + the same | none | is voided or expired |
//!
//! A hold that has come to its end stays there. At its expiry a hold can no
//! longer be captured, though it stays active until a posting gives its money
//! back; before it, it cannot expire.

use bursar_aip::id::{HoldId, TransactionId, WalletId};
use time::OffsetDateTime;

use super::book::Book;
use super::posting::{
    Account, HoldStep, Leg, LegBucket, Posting, PostingId, Rejected, RejectionReason,
};
use super::wallet::Bucket;

/// How far a hold has come. Every state but the first is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldStatus {
    /// Money is set aside.
    Active,
    /// The last of the money was captured, or the rest given back with the capture.
    Captured,
    /// What remained went back because somebody asked.
    Voided,
    /// What remained went back because the hold's time was over.
    Expired,
}

/// What a posting does to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldAction {
    /// Opens it: available money of one wallet becomes held money.
    Place,
    /// Takes a part of what remains to other wallets. Taking all of it ends it.
    Capture,
    /// Takes a part of what remains to other wallets, gives the rest back and ends it.
    CaptureFinal,
    /// Ends it: all that remains becomes available again.
    Void,
    /// Ends it like a void, once its time is over.
    Expire,
}

/// A hold as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The id.
    pub id: HoldId,
    /// The wallet whose money it is.
    pub wallet: WalletId,
    /// The transaction whose postings alone may change it, if any.
    pub transaction: Option<TransactionId>,
    /// How much was set aside, in minor units; more than 0.
    pub amount: i64,
    /// How much of it was captured.
    pub captured: i64,
    /// How far it has come.
    pub status: HoldStatus,
    /// What it is for, in words.
    pub description: String,
    /// The posting that placed it.
    pub placed_by: PostingId,
    /// When it was placed.
    pub placed_at: OffsetDateTime,
    /// From when on it cannot be captured; `None` for never.
    pub expires_at: Option<OffsetDateTime>,
    /// The posting that ended it, and when.
    pub ended: Option<(PostingId, OffsetDateTime)>,
}

impl Hold {
    /// How much is still set aside while the hold is active.
    pub fn remaining(&self) -> i64 {
        // Captures never exceed the amount.
        self.amount - self.captured
    }

    /// Whether its time is over.
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

/// What a posting changes about a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldChange {
    /// The hold before it; `None` when the posting placed it.
    pub before: Option<Hold>,
    /// The hold after it.
    pub after: Hold,
}

/// Decides what a posting does to holds: nothing, or what its hold step says.
/// The legs are balanced and their wallets exist.
pub(super) fn decide(
    book: &Book,
    posting: &Posting,
    now: OffsetDateTime,
) -> Result<Option<HoldChange>, Rejected> {
    let Some(step) = &posting.hold else {
        // Held money without a hold would break the bucket's meaning.
        return match posting.legs.iter().position(is_held) {
            Some(index) => Err(RejectionReason::HoldMismatch.at(index)),
            None => Ok(None),
        };
    };
    if step.action == HoldAction::Place {
        let after = place(book, posting, step, now)?;
        return Ok(Some(HoldChange {
            before: None,
            after,
        }));
    }
    let before = changeable(book, posting, step)?;
    let after = match step.action {
        HoldAction::Place | HoldAction::Capture | HoldAction::CaptureFinal => {
            capture(posting, before, step.action, now)?
        }
        HoldAction::Void => give_back(posting, before, HoldStatus::Voided, now)?,
        HoldAction::Expire if before.is_due(now) => {
            give_back(posting, before, HoldStatus::Expired, now)?
        }
        HoldAction::Expire => return Err(RejectionReason::HoldMismatch.whole()),
    };
    Ok(Some(HoldChange {
        before: Some(before.clone()),
        after,
    }))
}

fn place(
    book: &Book,
    posting: &Posting,
    step: &HoldStep,
    now: OffsetDateTime,
) -> Result<Hold, Rejected> {
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
        transaction: posting.transaction,
        amount: held.amount.get(),
        captured: 0,
        status: HoldStatus::Active,
        description: step.description.clone(),
        placed_by: posting.id,
        placed_at: now,
        expires_at: step.expires_at,
        ended: None,
    })
}

/// The posting's hold, if the posting may change it.
fn changeable<'a>(
    book: &'a Book,
    posting: &Posting,
    step: &HoldStep,
) -> Result<&'a Hold, Rejected> {
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
    if hold.transaction != posting.transaction {
        return Err(RejectionReason::HoldManaged.whole());
    }
    let is_capture = matches!(step.action, HoldAction::Capture | HoldAction::CaptureFinal);
    match hold.status {
        HoldStatus::Active => Ok(hold),
        // The same answer before and after its money was given back.
        HoldStatus::Expired if is_capture => Err(RejectionReason::HoldExpired.whole()),
        HoldStatus::Captured | HoldStatus::Voided | HoldStatus::Expired => {
            Err(RejectionReason::HoldNotActive.whole())
        }
    }
}

fn capture(
    posting: &Posting,
    hold: &Hold,
    action: HoldAction,
    now: OffsetDateTime,
) -> Result<Hold, Rejected> {
    if hold.is_due(now) {
        return Err(RejectionReason::HoldExpired.whole());
    }
    let is_final = action == HoldAction::CaptureFinal;
    let taken =
        captured_by(&posting.legs, hold, is_final).ok_or(RejectionReason::HoldMismatch.whole())?;
    let captured = hold.captured + taken;
    let has_ended = is_final || captured == hold.amount;
    Ok(Hold {
        captured,
        status: if has_ended {
            HoldStatus::Captured
        } else {
            HoldStatus::Active
        },
        ended: has_ended.then_some((posting.id, now)),
        ..hold.clone()
    })
}

/// How much the legs capture; `None` when they are no such capture.
fn captured_by(legs: &[Leg], hold: &Hold, is_final: bool) -> Option<i64> {
    let (own, others): (Vec<&Leg>, Vec<&Leg>) = legs
        .iter()
        .partition(|leg| leg.account.wallet_id() == hold.wallet);
    if others.is_empty() || others.iter().any(|leg| is_held(leg)) {
        return None;
    }
    let taken_from_held = |leg: &Leg| is_held(leg).then(|| leg.amount.get().checked_neg());
    match own.as_slice() {
        [held] => {
            let taken = taken_from_held(held)??;
            let fits = if is_final {
                taken == hold.remaining()
            } else {
                (1..=hold.remaining()).contains(&taken)
            };
            fits.then_some(taken)
        }
        [held, rest] if is_final => {
            let taken = taken_from_held(held)??;
            let given_back = rest.amount.get();
            let fits = taken == hold.remaining()
                && rest.bucket == LegBucket::Of(Bucket::Available)
                && (1..taken).contains(&given_back);
            fits.then_some(taken - given_back)
        }
        _ => None,
    }
}

/// Two legs on the hold's wallet: all that remains out of held, into available.
fn give_back(
    posting: &Posting,
    hold: &Hold,
    status: HoldStatus,
    now: OffsetDateTime,
) -> Result<Hold, Rejected> {
    let fits = match pair(&posting.legs) {
        (Some(held), Some(available)) => {
            held.account.wallet_id() == hold.wallet
                && available.account.wallet_id() == hold.wallet
                && held.amount.get().checked_neg() == Some(hold.remaining())
        }
        _ => false,
    };
    if !fits {
        return Err(RejectionReason::HoldMismatch.whole());
    }
    Ok(Hold {
        status,
        ended: Some((posting.id, now)),
        ..hold.clone()
    })
}

fn is_held(leg: &Leg) -> bool {
    leg.bucket == LegBucket::Of(Bucket::Held)
}

/// The held and the available leg of a posting that has one of each and no more.
fn pair(legs: &[Leg]) -> (Option<&Leg>, Option<&Leg>) {
    let find = |bucket| legs.iter().find(|leg| leg.bucket == LegBucket::Of(bucket));
    if legs.len() == 2 {
        (find(Bucket::Held), find(Bucket::Available))
    } else {
        (None, None)
    }
}
