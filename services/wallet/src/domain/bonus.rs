//! Bonus money: granted from a campaign's budget, spent by the earliest expiry,
//! converted into money for anything, or taken back.
//!
//! A wallet's bonus bucket is the sum of what remains of its active grants. So
//! only two things touch the bucket: a posting that names a grant, and a leg
//! that takes spendable money, which uses grants up. A grant whose time is over
//! cannot be spent, though its money stays in the bucket until it is taken back.
//!
//! | step | legs | then the grant |
//! |---|---|---|
//! | grant | budget wallet available − amount, user's bonus + amount | is active |
//! | convert | bonus − all that remains, available of the same wallet + the same | is converted |
//! | expire | bonus − all that remains, budget wallet available + the same | is expired |
//!
//! The grants of a wallet are guarded by its row lock, and how much a user was
//! granted in a campaign by the lock of the campaign's budget wallet, which
//! every grant of the campaign takes money from.

use bursar_aip::id::{CampaignId, GrantId, UserId, WalletId};
use time::OffsetDateTime;

use super::book::Book;
use super::posting::{Account, Leg, LegBucket, Posting, PostingId, Rejected, RejectionReason};
use super::wallet::{Bucket, SystemPurpose};

/// How far a grant has come. Every state but the first is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantStatus {
    /// Something of it is left.
    Active,
    /// The last of it was spent.
    Spent,
    /// What was left became available money.
    Converted,
    /// What was left went back to the campaign.
    Expired,
}

/// Bonus money that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BonusGrant {
    /// The id.
    pub id: GrantId,
    /// The campaign that it is of.
    pub campaign: CampaignId,
    /// The campaign's budget, where the money came from.
    pub budget: WalletId,
    /// The wallet that has it.
    pub wallet: WalletId,
    /// The user to whom the wallet belongs.
    pub owner: UserId,
    /// How much was granted, in minor units; more than 0.
    pub amount: i64,
    /// How much of it is left; 0 once it has ended.
    pub remaining: i64,
    /// How much was left when it was converted or expired.
    pub returned: i64,
    /// How far it has come.
    pub status: GrantStatus,
    /// The posting that granted it.
    pub granted_by: PostingId,
    /// When it was granted.
    pub granted_at: OffsetDateTime,
    /// From when on it cannot be spent or converted; `None` for never.
    pub expires_at: Option<OffsetDateTime>,
    /// The posting that ended it, and when.
    pub ended: Option<(PostingId, OffsetDateTime)>,
}

impl BonusGrant {
    /// Whether its time is over.
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether it can be spent or converted.
    pub fn is_usable(&self, now: OffsetDateTime) -> bool {
        self.status == GrantStatus::Active && !self.is_due(now)
    }

    fn ended_as(&self, status: GrantStatus, posting: PostingId, now: OffsetDateTime) -> Self {
        Self {
            remaining: 0,
            returned: self.remaining,
            status,
            ended: Some((posting, now)),
            ..self.clone()
        }
    }
}

/// A grant that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// Its id.
    pub id: GrantId,
    /// The campaign.
    pub campaign: CampaignId,
    /// From when on it cannot be spent.
    pub expires_at: Option<OffsetDateTime>,
    /// The most that one user may be granted in the campaign, in minor units.
    pub user_cap: Option<i64>,
}

/// What a posting does with bonus money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BonusStep {
    /// Grants it.
    Grant(NewGrant),
    /// Turns what is left into available money.
    Convert(GrantId),
    /// Takes back what is left, once its time is over.
    Expire(GrantId),
}

impl BonusStep {
    /// The grant that it makes or changes.
    pub fn grant(&self) -> GrantId {
        match self {
            Self::Grant(new) => new.id,
            Self::Convert(id) | Self::Expire(id) => *id,
        }
    }
}

/// What a posting changes about a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantChange {
    /// The grant before it; `None` when the posting made it.
    pub before: Option<BonusGrant>,
    /// The grant after it.
    pub after: BonusGrant,
}

/// Decides what a posting's bonus step does: nothing, or one grant's change.
/// The legs are balanced and their wallets exist.
pub(super) fn decide(
    book: &Book,
    posting: &Posting,
    now: OffsetDateTime,
) -> Result<Option<GrantChange>, Rejected> {
    match &posting.bonus {
        None => match posting.legs.iter().position(is_bonus) {
            // Bonus money without a grant would break the bucket's meaning.
            Some(index) => Err(RejectionReason::GrantMismatch.at(index)),
            None => Ok(None),
        },
        Some(BonusStep::Grant(new)) => grant(book, posting, new, now).map(|after| {
            Some(GrantChange {
                before: None,
                after,
            })
        }),
        Some(BonusStep::Convert(id)) => {
            let before = changeable(book, posting, *id)?;
            if before.is_due(now) {
                return Err(RejectionReason::GrantNotActive.whole());
            }
            if !is_conversion(&posting.legs, before) {
                return Err(RejectionReason::GrantMismatch.whole());
            }
            let after = before.ended_as(GrantStatus::Converted, posting.id, now);
            Ok(Some(change(before, after)))
        }
        Some(BonusStep::Expire(id)) => {
            let before = changeable(book, posting, *id)?;
            if !before.is_due(now) || !is_expiry(&posting.legs, before) {
                return Err(RejectionReason::GrantMismatch.whole());
            }
            let after = before.ended_as(GrantStatus::Expired, posting.id, now);
            Ok(Some(change(before, after)))
        }
    }
}

fn change(before: &BonusGrant, after: BonusGrant) -> GrantChange {
    GrantChange {
        before: Some(before.clone()),
        after,
    }
}

fn grant(
    book: &Book,
    posting: &Posting,
    new: &NewGrant,
    now: OffsetDateTime,
) -> Result<BonusGrant, Rejected> {
    let mismatch = RejectionReason::GrantMismatch.whole();
    let [budget, bonus] = sides(&posting.legs).ok_or(mismatch)?;
    let (Account::System { account, .. }, Account::User(wallet)) =
        (&budget.account, &bonus.account)
    else {
        return Err(mismatch);
    };
    let is_grant = account.purpose == SystemPurpose::BonusPool && bonus.amount.is_positive();
    let is_late = new.expires_at.is_some_and(|expires_at| expires_at <= now);
    if !is_grant || is_late || book.grant(new.id).is_some() {
        return Err(mismatch);
    }
    let owner = book
        .wallet(*wallet)
        .and_then(|wallet| wallet.owner)
        .ok_or(mismatch)?;
    let amount = bonus.amount.get();
    // A sum that cannot be counted is above every cap, and above none there is.
    let cap = new.user_cap.unwrap_or(i64::MAX);
    let granted = book.granted(new.campaign, owner).checked_add(amount);
    if granted.is_none_or(|granted| granted > cap) {
        return Err(RejectionReason::GrantCapExceeded.whole());
    }
    Ok(BonusGrant {
        id: new.id,
        campaign: new.campaign,
        budget: budget.account.wallet_id(),
        wallet: *wallet,
        owner,
        amount,
        remaining: amount,
        returned: 0,
        status: GrantStatus::Active,
        granted_by: posting.id,
        granted_at: now,
        expires_at: new.expires_at,
        ended: None,
    })
}

/// The grant, if it is active and of a wallet that the posting touches.
fn changeable<'a>(
    book: &'a Book,
    posting: &Posting,
    id: GrantId,
) -> Result<&'a BonusGrant, Rejected> {
    let grant = book
        .grant(id)
        .filter(|grant| {
            let mut wallets = posting.legs.iter().map(|leg| leg.account.wallet_id());
            wallets.any(|wallet| wallet == grant.wallet)
        })
        .ok_or(RejectionReason::GrantNotFound.whole())?;
    match grant.status {
        GrantStatus::Active => Ok(grant),
        GrantStatus::Spent | GrantStatus::Converted | GrantStatus::Expired => {
            Err(RejectionReason::GrantNotActive.whole())
        }
    }
}

fn is_conversion(legs: &[Leg], grant: &BonusGrant) -> bool {
    sides(legs).is_some_and(|[available, bonus]| {
        takes_rest(bonus, grant) && available.account == bonus.account
    })
}

fn is_expiry(legs: &[Leg], grant: &BonusGrant) -> bool {
    sides(legs).is_some_and(|[available, bonus]| {
        takes_rest(bonus, grant) && available.account.wallet_id() == grant.budget
    })
}

fn takes_rest(bonus: &Leg, grant: &BonusGrant) -> bool {
    bonus.account.wallet_id() == grant.wallet
        && bonus.amount.get().checked_neg() == Some(grant.remaining)
}

/// The available and the bonus leg of a posting that has one of each and no more.
fn sides(legs: &[Leg]) -> Option<[&Leg; 2]> {
    let find = |bucket| legs.iter().find(|leg| leg.bucket == LegBucket::Of(bucket));
    match (legs.len(), find(Bucket::Available), find(Bucket::Bonus)) {
        (2, Some(available), Some(bonus)) => Some([available, bonus]),
        _ => None,
    }
}

fn is_bonus(leg: &Leg) -> bool {
    leg.bucket == LegBucket::Of(Bucket::Bonus)
}

/// Takes `amount` from the usable grants among `grants`, the earliest to expire
/// first, and says how each changed. There must be as much.
pub(super) fn spend(
    grants: &mut [BonusGrant],
    amount: i64,
    posting: PostingId,
    now: OffsetDateTime,
) {
    // Those that never expire come last; the id decides between equals.
    grants.sort_by_key(|grant| (grant.expires_at.is_none(), grant.expires_at, grant.id));
    let mut left = amount;
    for grant in grants.iter_mut().filter(|grant| grant.is_usable(now)) {
        let taken = left.min(grant.remaining);
        left -= taken;
        grant.remaining -= taken;
        if grant.remaining == 0 {
            grant.status = GrantStatus::Spent;
            grant.ended = Some((posting, now));
        }
        if left == 0 {
            break;
        }
    }
}
