//! The postings by which wallet itself places, captures, gives back and expires
//! holds, made for a hold as it was read.
//!
//! A hold may change between reading and posting. That is never wrong, only in
//! vain: whether the legs still fit is decided under the locks
//! ([`super::hold`]), and when they do not, the posting is refused as a mismatch
//! and made anew for what the hold has become.

use std::num::NonZeroI64;

use bursar_aip::id::{HoldId, TenantId, WalletId};
use bursar_money::Currency;
use time::OffsetDateTime;

use super::hold::{Hold, HoldAction};
use super::posting::{
    Account, Fingerprint, HoldStep, Leg, LegBucket, Posting, PostingId, PostingKind,
};
use super::wallet::Bucket;

/// What a posting is besides its money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The operation id.
    pub id: PostingId,
    /// The tenant in whose ledger it belongs.
    pub tenant: TenantId,
    /// What tells it from another posting with its id.
    pub fingerprint: Fingerprint,
}

/// The hold to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The hold.
    pub hold: HoldId,
    /// The user's wallet whose money is set aside.
    pub wallet: WalletId,
    /// How much, in minor units.
    pub amount: NonZeroI64,
    /// The currency that the wallet must have.
    pub currency: Currency,
    /// From when on it cannot be captured, if ever.
    pub expires_at: Option<OffsetDateTime>,
    /// What it is for, in words.
    pub description: String,
}

/// What to capture of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// How much, in minor units; all that remains when absent.
    pub amount: Option<NonZeroI64>,
    /// Whether what is left goes back.
    pub is_final: bool,
    /// Whose money it becomes.
    pub to: Account,
    /// The currency that both wallets must have.
    pub currency: Currency,
}

/// More was to be captured than remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeds {
    /// What remains, in minor units.
    pub remaining: i64,
}

/// Sets money aside.
pub fn place(frame: Frame, placement: Placement) -> Posting {
    let leg = |bucket, amount| {
        leg(
            Account::User(placement.wallet),
            bucket,
            amount,
            placement.currency,
        )
    };
    let amount = placement.amount.get();
    let legs = [leg(Bucket::Available, -amount), leg(Bucket::Held, amount)];
    let step = HoldStep {
        hold: placement.hold,
        action: HoldAction::Place,
        expires_at: placement.expires_at,
        description: placement.description,
    };
    posting(frame, PostingKind::Hold, legs.into_iter().flatten(), step)
}

/// Takes money of an active hold to another wallet.
pub fn capture(frame: Frame, hold: &Hold, capture: &Capture) -> Result<Posting, Exceeds> {
    let remaining = hold.remaining();
    let taken = capture.amount.map_or(remaining, NonZeroI64::get);
    if taken > remaining {
        return Err(Exceeds { remaining });
    }
    let own = |bucket, amount| leg(Account::User(hold.wallet), bucket, amount, capture.currency);
    let to = leg(
        capture.to.clone(),
        Bucket::Available,
        taken,
        capture.currency,
    );
    let (action, from) = if capture.is_final {
        // Nothing is left of a final capture that takes everything.
        let rest = own(Bucket::Available, remaining - taken);
        let from = [own(Bucket::Held, -remaining), rest];
        (HoldAction::CaptureFinal, from)
    } else {
        (HoldAction::Capture, [own(Bucket::Held, -taken), None])
    };
    let legs = from.into_iter().flatten().chain(to);
    let step = HoldStep::on(hold.id, action);
    Ok(posting(frame, PostingKind::HoldCapture, legs, step))
}

/// Gives all that remains of an active hold back.
pub fn void(frame: Frame, hold: &Hold, currency: Currency) -> Posting {
    let step = HoldStep::on(hold.id, HoldAction::Void);
    posting(
        frame,
        PostingKind::HoldVoid,
        give_back(hold, currency),
        step,
    )
}

/// Gives all that remains of a hold back whose time is over, whoever placed it.
pub fn expire(frame: Frame, hold: &Hold, currency: Currency) -> Posting {
    let step = HoldStep::on(hold.id, HoldAction::Expire);
    Posting {
        transaction: hold.transaction,
        ..posting(
            frame,
            PostingKind::HoldExpiry,
            give_back(hold, currency),
            step,
        )
    }
}

fn give_back(hold: &Hold, currency: Currency) -> impl Iterator<Item = Leg> {
    let leg = |bucket, amount| leg(Account::User(hold.wallet), bucket, amount, currency);
    let remaining = hold.remaining();
    let legs = [
        leg(Bucket::Held, -remaining),
        leg(Bucket::Available, remaining),
    ];
    legs.into_iter().flatten()
}

/// A leg of any amount but 0, which is none.
fn leg(account: Account, bucket: Bucket, amount: i64, currency: Currency) -> Option<Leg> {
    Some(Leg {
        account,
        bucket: LegBucket::Of(bucket),
        amount: NonZeroI64::new(amount)?,
        currency,
        required_owner: None,
    })
}

fn posting(
    frame: Frame,
    kind: PostingKind,
    legs: impl Iterator<Item = Leg>,
    step: HoldStep,
) -> Posting {
    Posting {
        id: frame.id,
        tenant: frame.tenant,
        transaction: None,
        kind,
        legs: legs.collect(),
        effective_at: None,
        hold: Some(step),
        bonus: None,
        fingerprint: frame.fingerprint,
    }
}
