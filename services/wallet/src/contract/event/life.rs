//! The events that tell of a wallet's life.

use bursar_contracts::wallet::v1 as proto;
use bursar_events::{Event, EventData};
use time::OffsetDateTime;

use super::super::timestamp;
use super::aggregate;
use crate::domain::limit::Limits;
use crate::domain::wallet::Wallet;

/// Who changed a wallet, and when.
pub(crate) struct Occasion {
    /// The actor of the event.
    pub(crate) actor: String,
    /// When.
    pub(crate) at: OffsetDateTime,
}

/// `wallet.frozen`.
pub(crate) fn frozen(wallet: &Wallet, reason: &str, occasion: Occasion) -> Event {
    let data = proto::WalletFrozen {
        wallet_id: wallet.id.to_string(),
        owner_user_id: owner(wallet),
        reason: reason.to_owned(),
        frozen_at: Some(timestamp(occasion.at)),
    };
    event("wallet.frozen", wallet, &data, occasion)
}

/// `wallet.unfrozen`.
pub(crate) fn unfrozen(wallet: &Wallet, reason: &str, occasion: Occasion) -> Event {
    let data = proto::WalletUnfrozen {
        wallet_id: wallet.id.to_string(),
        owner_user_id: owner(wallet),
        reason: reason.to_owned(),
        unfrozen_at: Some(timestamp(occasion.at)),
    };
    event("wallet.unfrozen", wallet, &data, occasion)
}

/// `wallet.closed`.
pub(crate) fn closed(wallet: &Wallet, occasion: Occasion) -> Event {
    let data = proto::WalletClosed {
        wallet_id: wallet.id.to_string(),
        owner_user_id: owner(wallet),
        closed_at: Some(timestamp(occasion.at)),
    };
    event("wallet.closed", wallet, &data, occasion)
}

/// `wallet.limits_changed`: all of the wallet's limits as they are now.
pub(crate) fn limits_changed(wallet: &Wallet, limits: Limits, occasion: Occasion) -> Event {
    let data = proto::WalletLimitsChanged {
        wallet_id: wallet.id.to_string(),
        owner_user_id: owner(wallet),
        currency_code: wallet.currency.code().to_owned(),
        credit_limit_minor: wallet.credit_limit(),
        single_minor: limits.single,
        daily_minor: limits.daily,
        monthly_minor: limits.monthly,
        changed_at: Some(timestamp(occasion.at)),
    };
    event("wallet.limits_changed", wallet, &data, occasion)
}

fn owner(wallet: &Wallet) -> String {
    wallet
        .owner
        .map(|owner| owner.to_string())
        .unwrap_or_default()
}

fn event<M: EventData>(kind: &'static str, wallet: &Wallet, data: &M, occasion: Occasion) -> Event {
    Event::new(
        kind,
        aggregate(wallet.id),
        wallet.event_version,
        data,
        occasion.actor,
        wallet.tenant.clone(),
        occasion.at,
    )
}
