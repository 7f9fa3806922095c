//! The rules, and which of them is asked.

use bursar_aip::id::{LimitRuleId, TenantId, UserId, WalletId};
use bursar_money::Currency;

use super::Limited;

/// The highest tier there are rules for. Who is verified further counts as this.
pub const MAX_TIER: u8 = 9;

/// Whom a rule holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All users.
    Everybody,
    /// The users of a tier.
    Tier(u8),
    /// A user.
    User(UserId),
    /// A wallet. Who names it and is not its owner is told nothing by the rule.
    Wallet {
        /// The wallet.
        wallet: WalletId,
        /// Whose it is.
        owner: UserId,
    },
}

/// How often something may be done within a window that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Velocity {
    /// The most movements.
    pub max_count: u32,
    /// The window.
    pub window_seconds: u32,
}

/// A rule. What it does not set is for a less specific rule to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// The id.
    pub id: LimitRuleId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Whom it holds for.
    pub scope: Scope,
    /// What it limits; `None` for each kind of movement on its own.
    pub movement: Option<Limited>,
    /// The currency.
    pub currency: Currency,
    /// The most at once, in minor units.
    pub single_minor: Option<i64>,
    /// The most in a day, in minor units.
    pub daily_minor: Option<i64>,
    /// The most in a month, in minor units.
    pub monthly_minor: Option<i64>,
    /// How often.
    pub velocity: Option<Velocity>,
}

/// Whom rules are asked for, and about what.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user's tenant.
    pub tenant: &'a TenantId,
    /// The user.
    pub user: UserId,
    /// How far the user's identity is verified.
    pub tier: u8,
    /// The wallet; `None` for one without a rule of its own.
    pub wallet: Option<WalletId>,
    /// The kind of movement.
    pub movement: Limited,
    /// The currency.
    pub currency: Currency,
}

/// A limit and the rule that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit<T> {
    /// The most.
    pub most: T,
    /// The rule.
    pub rule: LimitRuleId,
}

/// What is set for a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The most at once, in minor units.
    pub single: Option<Limit<i64>>,
    /// The most in a day, in minor units.
    pub daily: Option<Limit<i64>>,
    /// The most in a month, in minor units.
    pub monthly: Option<Limit<i64>>,
    /// How often.
    pub velocity: Option<Limit<Velocity>>,
}

impl Applied {
    /// What the rules set for a subject, whatever their order.
    pub fn of(rules: &[LimitRule], subject: Subject<'_>) -> Self {
        let mut holding: Vec<(u8, &LimitRule)> = rules
            .iter()
            .filter_map(|rule| Some((rule.rank(subject)?, rule)))
            .collect();
        holding.sort_by_key(|(rank, _)| *rank);
        let mut applied = Self::default();
        // The most specific is the last to say.
        for (_, rule) in holding {
            let id = rule.id;
            let limit = |most: Option<i64>| most.map(|most| Limit { most, rule: id });
            applied.single = limit(rule.single_minor).or(applied.single);
            applied.daily = limit(rule.daily_minor).or(applied.daily);
            applied.monthly = limit(rule.monthly_minor).or(applied.monthly);
            let velocity = rule.velocity.map(|most| Limit { most, rule: id });
            applied.velocity = velocity.or(applied.velocity);
        }
        applied
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl LimitRule {
    /// How specific the rule is about a subject; `None` when it says nothing about
    /// it. No two rules that hold at the same time have the same rank for it.
    fn rank(&self, subject: Subject<'_>) -> Option<u8> {
        if self.tenant != *subject.tenant || self.currency != subject.currency {
            return None;
        }
        let of_movement = match self.movement {
            Some(movement) if movement == subject.movement => 1,
            Some(_) => return None,
            None => 0,
        };
        let of_scope = match self.scope {
            Scope::Wallet { wallet, owner }
                if subject.wallet == Some(wallet) && owner == subject.user =>
            {
                6
            }
            Scope::User(user) if user == subject.user => 4,
            Scope::Tier(tier) if tier == subject.tier.min(MAX_TIER) => 2,
            Scope::Everybody => 0,
            Scope::Wallet { .. } | Scope::User(_) | Scope::Tier(_) => return None,
        };
        Some(of_scope + of_movement)
    }
}
