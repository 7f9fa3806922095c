//! Bonus campaigns: who is granted how much and when, and when granted money
//! becomes money for anything.
//!
//! What is decided here are the rules of a campaign. That its budget is not
//! overdrawn and that nobody is granted more than the cap is decided in the
//! posting of the grant, under the budget wallet's lock ([`super::bonus`]): only
//! there can it not change in between. The window needs no lock. When a campaign
//! is ended its budget is emptied, and a grant that is late finds no money.

mod movement;

use bursar_aip::id::{CampaignId, GrantId, TenantId, WalletId};
use bursar_money::Currency;
use time::{Duration, OffsetDateTime};

use super::bonus::{BonusGrant, GrantStatus, NewGrant};
use super::wallet::{SystemAccount, SystemPurpose};

pub use movement::{Identity, convert, expire, fund, grant, refund};

/// A campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// The id.
    pub id: CampaignId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// What operators call it.
    pub name: String,
    /// The currency of its budget and of the wallets it grants to.
    pub currency: Currency,
    /// The most that one user is granted over all wallets, in minor units.
    pub user_cap: Option<i64>,
    /// From when it grants.
    pub starts_at: OffsetDateTime,
    /// From when it no longer does.
    pub ends_at: Option<OffsetDateTime>,
    /// How long a grant lasts; `None` for ever.
    pub grant_ttl: Option<Duration>,
    /// When a grant may be converted; `None` for never.
    pub conversion: Option<ConversionRule>,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When an operator ended it.
    pub ended_at: Option<OffsetDateTime>,
}

/// When what is left of a grant may become available money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversionRule {
    /// How old the grant has to be.
    pub min_age: Duration,
    /// How much has to be spent from the wallet since, in minor units.
    pub min_spend: i64,
    /// Whether it happens by itself.
    pub is_automatic: bool,
}

/// Whether a campaign grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Not yet.
    Scheduled,
    /// Yes.
    Active,
    /// No longer: its window has closed.
    Over,
    /// No longer: an operator ended it.
    Ended,
}

impl Campaign {
    /// Whether it grants at `now`.
    pub fn stage(&self, now: OffsetDateTime) -> Stage {
        if self.ended_at.is_some() {
            Stage::Ended
        } else if now < self.starts_at {
            Stage::Scheduled
        } else if self.ends_at.is_some_and(|ends_at| ends_at <= now) {
            Stage::Over
        } else {
            Stage::Active
        }
    }

    /// The platform's account with its budget.
    pub fn budget(&self) -> SystemAccount {
        budget_of(self.id, self.currency)
    }

    /// The wallet with its budget.
    pub fn budget_wallet(&self) -> WalletId {
        self.budget().wallet_id(&self.tenant)
    }

    /// A grant as it would be made at `now`, or the stage that forbids it.
    pub fn new_grant(&self, id: GrantId, now: OffsetDateTime) -> Result<NewGrant, Stage> {
        match self.stage(now) {
            Stage::Active => Ok(NewGrant {
                id,
                campaign: self.id,
                expires_at: self.grant_ttl.map(|ttl| now.saturating_add(ttl)),
                user_cap: self.user_cap,
            }),
            stage => Err(stage),
        }
    }

    /// Whether more budget could still be granted, or the stage that forbids it.
    pub fn check_funding(&self, now: OffsetDateTime) -> Result<(), Stage> {
        match self.stage(now) {
            Stage::Scheduled | Stage::Active => Ok(()),
            stage @ (Stage::Over | Stage::Ended) => Err(stage),
        }
    }
}

/// The platform's account with the budget of a campaign. Its name is the id's
/// UUID in 32 hexadecimal digits: a name has no room for more.
pub fn budget_of(campaign: CampaignId, currency: Currency) -> SystemAccount {
    SystemAccount {
        purpose: SystemPurpose::BonusPool,
        name: campaign.uuid().simple().to_string(),
        currency,
    }
}

/// The platform's account that all budgets come from. It may be overdrawn: what
/// it lacks is what the platform has given away.
pub fn pool(currency: Currency) -> SystemAccount {
    SystemAccount {
        purpose: SystemPurpose::BonusPool,
        name: String::new(),
        currency,
    }
}

/// Why a grant is not converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotConvertible {
    /// It has ended so.
    Ended(GrantStatus),
    /// Its time is over, though nobody has taken it back yet.
    Expired,
    /// Its campaign has no rule.
    NoRule,
    /// It has to be older.
    TooYoung {
        /// When it is old enough.
        from: OffsetDateTime,
    },
    /// More has to be spent.
    SpentTooLittle {
        /// How much was, in minor units.
        spent: i64,
        /// How much has to be.
        required: i64,
    },
}

/// Whether a grant may be converted. `spent` is what was spent from its wallet
/// since it was granted.
pub fn check_conversion(
    rule: Option<ConversionRule>,
    grant: &BonusGrant,
    spent: i64,
    now: OffsetDateTime,
) -> Result<(), NotConvertible> {
    if grant.status != GrantStatus::Active {
        return Err(NotConvertible::Ended(grant.status));
    }
    if grant.is_due(now) {
        return Err(NotConvertible::Expired);
    }
    let rule = rule.ok_or(NotConvertible::NoRule)?;
    let from = grant.granted_at.saturating_add(rule.min_age);
    if now < from {
        return Err(NotConvertible::TooYoung { from });
    }
    if spent < rule.min_spend {
        return Err(NotConvertible::SpentTooLittle {
            spent,
            required: rule.min_spend,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
