//! Limits of what users may move.
//!
//! A [`LimitRule`] sets up to four kinds of limits: the most at once, in a day, in a
//! month, and how often within a window. For each kind alone the most specific rule
//! that sets it is asked, and no other:
//!
//! | first | a rule for |
//! |---|---|
//! | 1 | the wallet, and this kind of movement |
//! | 2 | the wallet, and any movement |
//! | 3, 4 | the user |
//! | 5, 6 | the tier |
//! | 7, 8 | all tiers |
//!
//! So an override may be wider or narrower than what it stands in for, and 0
//! refuses everything. It changes the number, not what is counted: counted is what
//! the user moved with all wallets, by kind of movement and currency. A rule for any
//! movement limits each kind of movement on its own.
//!
//! Days and months are of UTC, and a movement belongs to those of its intent. What
//! is used is exact: sums are wider than any amount, and in a slice of demands the
//! earlier ones count for the later ones. A window reaches from now back; it counts
//! every movement that was recorded in it, those that failed since as well, for a
//! limit of how often something is tried that failures give back limits nothing.
//! Refunds use no limit and give none back: they undo what somebody else did.

mod period;
mod rule;
mod weigh;

use std::fmt;

use bursar_aip::id::{LimitRuleId, TenantId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use time::OffsetDateTime;

use super::Movement;

pub use period::Period;
pub use rule::{Applied, Limit, LimitRule, MAX_TIER, Scope, Subject, Velocity};
pub use weigh::{Recent, UsageKey, Used, Weighed, Window, left, usage_keys, weigh, window};

/// The movements that limits are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limited {
    /// Transfers, for who sends them.
    Transfer,
    /// Deposits.
    Deposit,
    /// Withdrawals.
    Withdrawal,
}

impl Limited {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Transfer, Self::Deposit, Self::Withdrawal];

    /// The name in the database, which is that of the transaction's kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// What a movement counts as, and the user's own wallet in it; `None` for
    /// refunds and for what operators move.
    pub fn of(movement: &Movement) -> Option<(Self, WalletId)> {
        match movement {
            Movement::Transfer { from, .. } => Some((Self::Transfer, *from)),
            Movement::Deposit { to, .. } => Some((Self::Deposit, *to)),
            Movement::Withdrawal { from, .. } => Some((Self::Withdrawal, *from)),
            Movement::Refund(_) | Movement::Adjustment(_) | Movement::BonusGrant { .. } => None,
        }
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitKind {
    /// The amount at once.
    Single,
    /// The sum of a day.
    Daily,
    /// The sum of a month.
    Monthly,
    /// How often.
    Velocity,
}

impl LimitKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Single, Self::Daily, Self::Monthly, Self::Velocity];

    /// The name in the contract's `ErrorReason`, without its prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "TIER_SINGLE_LIMIT_EXCEEDED",
            Self::Daily => "TIER_DAILY_LIMIT_EXCEEDED",
            Self::Monthly => "TIER_MONTHLY_LIMIT_EXCEEDED",
            Self::Velocity => "VELOCITY_LIMIT_EXCEEDED",
        }
    }
}

/// A movement that wants to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The user's tenant.
    pub tenant: TenantId,
    /// Who moves the money.
    pub user: UserId,
    /// How far the user's identity is verified.
    pub tier: u8,
    /// The user's own wallet in it.
    pub wallet: WalletId,
    /// What it counts as.
    pub movement: Limited,
    /// How much.
    pub amount: PositiveMoney,
    /// The time of the intent.
    pub at: OffsetDateTime,
}

impl Demand {
    /// Whom the rules are asked for.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            tenant: &self.tenant,
            user: self.user,
            tier: self.tier,
            wallet: Some(self.wallet),
            movement: self.movement,
            currency: self.amount.currency(),
        }
    }
}

/// A limit that a movement would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which kind of limit.
    pub kind: LimitKind,
    /// The movement.
    pub movement: Limited,
    /// The currency.
    pub currency: Currency,
    /// The most: minor units, or movements.
    pub limit: i64,
    /// What was used of it before; 0 for what counts at once.
    pub used: i128,
    /// What was left.
    pub left: i64,
    /// When there is room again; `None` when waiting makes none.
    pub resets_at: Option<OffsetDateTime>,
    /// The rule.
    pub rule: LimitRuleId,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.kind {
            LimitKind::Single => "the user may not move so much at once",
            LimitKind::Daily => "the user may not move so much in a day",
            LimitKind::Monthly => "the user may not move so much in a month",
            LimitKind::Velocity => "the user may not move money so often",
        })
    }
}

#[cfg(test)]
mod tests;
