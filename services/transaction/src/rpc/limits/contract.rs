//! Between the rules and the contract's messages.

use bursar_contracts::transaction::v1 as proto;

use crate::contract::timestamp;
use crate::domain::limit::{Limited, Scope, Velocity};
use crate::store::limits::rules::Record;

/// A rule as the contract writes it.
pub(super) fn rule(record: &Record) -> proto::LimitRule {
    let rule = &record.rule;
    let (tier, user, wallet) = match rule.scope {
        Scope::Everybody => (None, None, None),
        Scope::Tier(tier) => (Some(i32::from(tier)), None, None),
        Scope::User(user) => (None, Some(user), None),
        Scope::Wallet { wallet, owner } => (None, Some(owner), Some(wallet)),
    };
    let (archived_by, archived_at) = record.archived.clone().unzip();
    proto::LimitRule {
        limit_rule_id: rule.id.to_string(),
        tier,
        user_id: user.map(|id| id.to_string()).unwrap_or_default(),
        wallet_id: wallet.map(|id| id.to_string()).unwrap_or_default(),
        movement: movement(rule.movement).into(),
        currency_code: rule.currency.code().to_owned(),
        single_minor: rule.single_minor,
        daily_minor: rule.daily_minor,
        monthly_minor: rule.monthly_minor,
        velocity: rule.velocity.map(|velocity| proto::LimitVelocity {
            max_count: number(velocity.max_count),
            window_seconds: number(velocity.window_seconds),
        }),
        note: record.note.clone(),
        created_by: record.created_by.clone(),
        created_at: Some(timestamp(record.created_at)),
        archived_by: archived_by.unwrap_or_default(),
        archived_at: archived_at.map(timestamp),
    }
}

/// A movement as the contract names it; `None` is any.
pub(super) fn movement(movement: Option<Limited>) -> proto::LimitedMovement {
    match movement {
        None => proto::LimitedMovement::Any,
        Some(Limited::Transfer) => proto::LimitedMovement::Transfer,
        Some(Limited::Deposit) => proto::LimitedMovement::Deposit,
        Some(Limited::Withdrawal) => proto::LimitedMovement::Withdrawal,
    }
}

/// A movement that the contract names; `None` for a value that validation refuses.
pub(super) fn movement_of(named: proto::LimitedMovement) -> Option<Option<Limited>> {
    let any = [None].into_iter();
    any.chain(Limited::ALL.map(Some))
        .find(|candidate| movement(*candidate) == named)
}

/// A limit of how often that the contract names; `None` for a value that validation
/// refuses.
pub(super) fn velocity_of(velocity: proto::LimitVelocity) -> Option<Velocity> {
    Some(Velocity {
        max_count: u32::try_from(velocity.max_count).ok()?,
        window_seconds: u32::try_from(velocity.window_seconds).ok()?,
    })
}

/// A count as the contract writes it.
pub(super) fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
