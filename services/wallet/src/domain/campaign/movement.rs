//! The postings by which bonus money moves.
//!
//! | posting | from | to |
//! |---|---|---|
//! | fund | the pool | the campaign's budget |
//! | refund | the campaign's budget | the pool |
//! | grant | the campaign's budget | the user's bonus money |
//! | convert | the user's bonus money | the same wallet's available money |
//! | expire | the user's bonus money | the campaign's budget |
//!
//! What a job posts has an id that follows from what it is about, so that two
//! replicas, or one before and after a crash, post it once.

use std::num::NonZeroI64;

use bursar_aip::id::{TenantId, WalletId};
use bursar_money::Currency;
use uuid::Uuid;

use super::{Campaign, pool};
use crate::domain::bonus::{BonusGrant, BonusStep, NewGrant};
use crate::domain::posting::{Account, Fingerprint, Leg, Posting, PostingId, PostingKind};
use crate::domain::wallet::{Bucket, SystemAccount};

/// What a posting is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: PostingId,
    /// What tells it from another posting with its id.
    pub fingerprint: Fingerprint,
}

impl Identity {
    /// The identity of a posting that a job makes: the id follows from what the
    /// posting is about and why, and only the amount can differ from try to try.
    fn of_job(subject: Uuid, purpose: &str, amount: NonZeroI64) -> Self {
        let id = Uuid::new_v5(&subject, purpose.as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint[..16].copy_from_slice(id.as_bytes());
        fingerprint[16..24].copy_from_slice(&amount.get().to_be_bytes());
        Self {
            id: PostingId::from_uuid(id),
            fingerprint,
        }
    }
}

/// Gives a campaign budget.
pub fn fund(campaign: &Campaign, amount: NonZeroI64, identity: Identity) -> Posting {
    let tenant = &campaign.tenant;
    let legs = vec![
        leg(
            system(pool(campaign.currency), tenant),
            Bucket::Available,
            -amount,
            campaign.currency,
        ),
        leg(
            system(campaign.budget(), tenant),
            Bucket::Available,
            amount,
            campaign.currency,
        ),
    ];
    posting(tenant, PostingKind::BonusFunding, legs, None, identity)
}

/// Gives what is left of an ended campaign's budget back. `version` is the
/// budget wallet's when it had so much: the posting's id follows from it, so that
/// money that comes to the budget later is another posting's.
pub fn refund(campaign: &Campaign, left: NonZeroI64, version: i64) -> Posting {
    let identity = Identity::of_job(campaign.id.uuid(), &format!("refund/{version}"), left);
    let tenant = &campaign.tenant;
    let legs = vec![
        leg(
            system(campaign.budget(), tenant),
            Bucket::Available,
            -left,
            campaign.currency,
        ),
        leg(
            system(pool(campaign.currency), tenant),
            Bucket::Available,
            left,
            campaign.currency,
        ),
    ];
    posting(tenant, PostingKind::BonusFunding, legs, None, identity)
}

/// Grants a user's wallet bonus money. The budget is the first leg, the wallet
/// the second.
pub fn grant(
    campaign: &Campaign,
    wallet: WalletId,
    amount: NonZeroI64,
    new: NewGrant,
    identity: Identity,
) -> Posting {
    let tenant = &campaign.tenant;
    let legs = vec![
        leg(
            system(campaign.budget(), tenant),
            Bucket::Available,
            -amount,
            campaign.currency,
        ),
        leg(
            Account::User(wallet),
            Bucket::Bonus,
            amount,
            campaign.currency,
        ),
    ];
    let step = Some(BonusStep::Grant(new));
    posting(tenant, PostingKind::BonusGrant, legs, step, identity)
}

/// Converts what is left of a grant; `None` when nothing is. Without an
/// identity it is a job's.
pub fn convert(
    campaign: &Campaign,
    grant: &BonusGrant,
    identity: Option<Identity>,
) -> Option<Posting> {
    let left = NonZeroI64::new(grant.remaining)?;
    let identity = identity.unwrap_or_else(|| Identity::of_job(grant.id.uuid(), "convert", left));
    let legs = vec![
        leg(
            Account::User(grant.wallet),
            Bucket::Bonus,
            -left,
            campaign.currency,
        ),
        leg(
            Account::User(grant.wallet),
            Bucket::Available,
            left,
            campaign.currency,
        ),
    ];
    let step = Some(BonusStep::Convert(grant.id));
    let kind = PostingKind::BonusConversion;
    Some(posting(&campaign.tenant, kind, legs, step, identity))
}

/// Gives what is left of a grant back to its campaign's budget; `None` when
/// nothing is.
pub fn expire(campaign: &Campaign, grant: &BonusGrant) -> Option<Posting> {
    let left = NonZeroI64::new(grant.remaining)?;
    let identity = Identity::of_job(grant.id.uuid(), "expire", left);
    let tenant = &campaign.tenant;
    let legs = vec![
        leg(
            Account::User(grant.wallet),
            Bucket::Bonus,
            -left,
            campaign.currency,
        ),
        leg(
            system(campaign.budget(), tenant),
            Bucket::Available,
            left,
            campaign.currency,
        ),
    ];
    let step = Some(BonusStep::Expire(grant.id));
    Some(posting(
        tenant,
        PostingKind::BonusExpiry,
        legs,
        step,
        identity,
    ))
}

fn posting(
    tenant: &TenantId,
    kind: PostingKind,
    legs: Vec<Leg>,
    bonus: Option<BonusStep>,
    identity: Identity,
) -> Posting {
    Posting {
        id: identity.id,
        tenant: tenant.clone(),
        transaction: None,
        kind,
        legs,
        effective_at: None,
        hold: None,
        bonus,
        fingerprint: identity.fingerprint,
    }
}

fn system(account: SystemAccount, tenant: &TenantId) -> Account {
    Account::system(account, tenant)
}

fn leg(account: Account, bucket: Bucket, amount: NonZeroI64, currency: Currency) -> Leg {
    Leg {
        account,
        bucket: bucket.into(),
        amount,
        currency,
        required_owner: None,
    }
}
