//! Holds, and what is asked about them, between the contract and the domain.

use std::num::NonZeroI64;

use bursar_aip::id::{HoldId, TenantId, WalletId, parse_field};
use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1 as proto;
use bursar_money::Currency;
use time::OffsetDateTime;
use tonic::Status;

use super::posting::{currency, instant, invalid, system_account};
use super::timestamp;
use crate::domain::hold::HoldStatus;
use crate::domain::posting::Account;
use crate::store::holds::HeldMoney;

/// A hold for its caller.
pub(crate) fn hold(held: &HeldMoney) -> proto::Hold {
    let hold = &held.hold;
    proto::Hold {
        hold_id: hold.id.to_string(),
        wallet_id: hold.wallet.to_string(),
        status: hold_status(hold.status).into(),
        currency_code: held.currency.code().to_owned(),
        amount_minor: hold.amount,
        captured_minor: hold.captured,
        remaining_minor: match hold.status {
            HoldStatus::Active => hold.remaining(),
            HoldStatus::Captured | HoldStatus::Voided | HoldStatus::Expired => 0,
        },
        description: hold.description.clone(),
        transaction_id: hold
            .transaction
            .map(|transaction| transaction.to_string())
            .unwrap_or_default(),
        placed_at: Some(timestamp(hold.placed_at)),
        expires_at: hold.expires_at.map(timestamp),
        ended_at: hold.ended.map(|(_, ended_at)| timestamp(ended_at)),
    }
}

fn hold_status(status: HoldStatus) -> proto::HoldStatus {
    match status {
        HoldStatus::Active => proto::HoldStatus::Active,
        HoldStatus::Captured => proto::HoldStatus::Captured,
        HoldStatus::Voided => proto::HoldStatus::Voided,
        HoldStatus::Expired => proto::HoldStatus::Expired,
    }
}

/// The state that a list is asked for; `None` for all.
pub(crate) fn wanted_status(status: proto::HoldStatus) -> Option<HoldStatus> {
    match status {
        proto::HoldStatus::Unspecified => None,
        proto::HoldStatus::Active => Some(HoldStatus::Active),
        proto::HoldStatus::Captured => Some(HoldStatus::Captured),
        proto::HoldStatus::Voided => Some(HoldStatus::Voided),
        proto::HoldStatus::Expired => Some(HoldStatus::Expired),
    }
}

/// When a hold shall expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Never.
    Never,
    /// At an instant.
    At(OffsetDateTime),
    /// So long after it is placed.
    After(time::Duration),
}

/// What PlaceHold asks for.
pub(crate) struct Wanted {
    pub(crate) wallet: WalletId,
    pub(crate) amount: NonZeroI64,
    pub(crate) currency: Currency,
    pub(crate) expiry: Expiry,
    pub(crate) description: String,
}

/// Reads a PlaceHold.
pub(crate) fn wanted(request: proto::PlaceHoldRequest) -> Result<Wanted, Status> {
    let money = request.amount.as_ref();
    let money = money.ok_or_else(|| invalid("amount", "must be given"))?;
    let (amount, currency) = amount(money)?;
    let expiry = match (&request.expires_at, request.ttl_seconds) {
        (Some(at), _) => Expiry::At(instant(at, "expires_at")?),
        (None, 0) => Expiry::Never,
        (None, seconds) => Expiry::After(time::Duration::seconds(seconds.into())),
    };
    Ok(Wanted {
        wallet: parse_field("wallet_id", &request.wallet_id)?,
        amount,
        currency,
        expiry,
        description: request.description,
    })
}

/// What CaptureHold asks for.
pub(crate) struct WantedCapture {
    pub(crate) hold: HoldId,
    /// How much; all that remains when absent.
    pub(crate) amount: Option<(NonZeroI64, Currency)>,
    pub(crate) is_final: bool,
    pub(crate) to: Account,
}

/// Reads a CaptureHold.
pub(crate) fn wanted_capture(
    request: &proto::CaptureHoldRequest,
    tenant: &TenantId,
) -> Result<WantedCapture, Status> {
    let to = match &request.to_system {
        Some(system) => Account::system(system_account(system, "to_system")?, tenant),
        None => Account::User(parse_field("to_wallet_id", &request.to_wallet_id)?),
    };
    Ok(WantedCapture {
        hold: parse_field("hold_id", &request.hold_id)?,
        amount: request.amount.as_ref().map(amount).transpose()?,
        is_final: request.r#final,
        to,
    })
}

fn amount(money: &Money) -> Result<(NonZeroI64, Currency), Status> {
    let amount = NonZeroI64::new(money.minor_units)
        .ok_or_else(|| invalid("amount.minor_units", "must not be 0"))?;
    let currency = currency(&money.currency_code, "amount.currency_code".to_owned())?;
    Ok((amount, currency))
}
