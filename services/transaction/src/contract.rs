//! Between the domain's values and the contract's messages.

mod price;

use bursar_contracts::transaction::v1::{
    self as contract, AdjustmentReason as AdjustmentReasonMessage, ReviewResolution,
    TransactionFailure, TransactionState, TransactionType,
};
use bursar_contracts::r#type::v1::Money as MoneyMessage;
use bursar_money::PositiveMoney;

use crate::domain::{AdjustmentReason, Failure, Movement, MovementKind, Resolution, State};
use crate::store::transactions::Stored;

pub(crate) use bursar_contracts::instant::{instant, timestamp};
pub(crate) use price::{
    conversion, conversion_of, exchange_rate, fee, fee_of, fee_payer_of, fee_rule, quote, quote_id,
    rounding_of,
};

/// An amount as the contract writes it.
pub(crate) fn money(amount: PositiveMoney) -> MoneyMessage {
    MoneyMessage {
        currency_code: amount.currency().code().to_owned(),
        minor_units: amount.minor(),
    }
}

/// A kind as the contract names it.
pub(crate) fn transaction_type(kind: MovementKind) -> TransactionType {
    match kind {
        MovementKind::Transfer => TransactionType::Transfer,
        MovementKind::Deposit => TransactionType::Deposit,
        MovementKind::Withdrawal => TransactionType::Withdrawal,
        MovementKind::Refund => TransactionType::Refund,
        MovementKind::Adjustment => TransactionType::Adjustment,
        MovementKind::BonusGrant => TransactionType::BonusGrant,
    }
}

/// A kind that the contract names; `None` for a value that validation refuses.
pub(crate) fn movement_kind(named: TransactionType) -> Option<MovementKind> {
    MovementKind::ALL
        .into_iter()
        .find(|kind| transaction_type(*kind) == named)
}

/// Why a movement adjusts a wallet, as the contract names it; unspecified when it does
/// not.
pub(crate) fn adjustment_reason_of(movement: &Movement) -> AdjustmentReasonMessage {
    match movement.adjustment().map(|adjustment| adjustment.reason) {
        None => AdjustmentReasonMessage::Unspecified,
        Some(AdjustmentReason::Goodwill) => AdjustmentReasonMessage::Goodwill,
        Some(AdjustmentReason::Correction) => AdjustmentReasonMessage::Correction,
        Some(AdjustmentReason::Chargeback) => AdjustmentReasonMessage::Chargeback,
        Some(AdjustmentReason::SettlementDifference) => {
            AdjustmentReasonMessage::SettlementDifference
        }
        Some(AdjustmentReason::WriteOff) => AdjustmentReasonMessage::WriteOff,
        Some(AdjustmentReason::FeeReversal) => AdjustmentReasonMessage::FeeReversal,
    }
}

/// A reason that the contract names; `None` for a value that validation refuses.
pub(crate) fn adjustment_reason(named: AdjustmentReasonMessage) -> Option<AdjustmentReason> {
    match named {
        AdjustmentReasonMessage::Unspecified => None,
        AdjustmentReasonMessage::Goodwill => Some(AdjustmentReason::Goodwill),
        AdjustmentReasonMessage::Correction => Some(AdjustmentReason::Correction),
        AdjustmentReasonMessage::Chargeback => Some(AdjustmentReason::Chargeback),
        AdjustmentReasonMessage::SettlementDifference => {
            Some(AdjustmentReason::SettlementDifference)
        }
        AdjustmentReasonMessage::WriteOff => Some(AdjustmentReason::WriteOff),
        AdjustmentReasonMessage::FeeReversal => Some(AdjustmentReason::FeeReversal),
    }
}

/// A decision as the contract names it.
pub(crate) fn review_resolution(resolution: Resolution) -> ReviewResolution {
    match resolution {
        Resolution::Complete => ReviewResolution::Complete,
        Resolution::Fail => ReviewResolution::Fail,
        Resolution::Retry => ReviewResolution::Retry,
    }
}

/// A decision that the contract names; `None` for a value that validation refuses.
pub(crate) fn resolution_of(resolution: ReviewResolution) -> Option<Resolution> {
    match resolution {
        ReviewResolution::Unspecified => None,
        ReviewResolution::Complete => Some(Resolution::Complete),
        ReviewResolution::Fail => Some(Resolution::Fail),
        ReviewResolution::Retry => Some(Resolution::Retry),
    }
}

/// A state as the contract names it.
pub(crate) fn transaction_state(state: State) -> TransactionState {
    match state {
        State::Pending => TransactionState::Pending,
        State::Held => TransactionState::Held,
        State::Processing => TransactionState::Processing,
        State::Unknown => TransactionState::Unknown,
        State::Settling => TransactionState::Settling,
        State::Releasing => TransactionState::Releasing,
        State::Completed => TransactionState::Completed,
        State::Failed => TransactionState::Failed,
        State::ManualReview => TransactionState::ManualReview,
    }
}

/// A failure as the contract writes it.
pub(crate) fn failure(failure: &Failure) -> TransactionFailure {
    TransactionFailure {
        reason: failure.reason.name().to_owned(),
        message: failure.message.clone(),
    }
}

/// A transaction as the contract writes it.
pub(crate) fn transaction(stored: &Stored) -> contract::Transaction {
    let transaction = &stored.transaction;
    let movement = &transaction.movement;
    let part = |minor_units: i64| {
        (minor_units > 0).then(|| MoneyMessage {
            currency_code: transaction.amount.currency().code().to_owned(),
            minor_units,
        })
    };
    contract::Transaction {
        transaction_id: transaction.id.to_string(),
        r#type: transaction_type(movement.kind()).into(),
        state: transaction_state(transaction.state).into(),
        amount: Some(money(transaction.amount)),
        from_wallet_id: text(movement.from_wallet()),
        to_wallet_id: text(movement.to_wallet()),
        provider: text(movement.provider()),
        payout_account_id: text(movement.payout_account()),
        provider_reference: transaction.provider_reference.clone().unwrap_or_default(),
        description: stored.description.clone(),
        failure: transaction.failure.as_ref().map(failure),
        initiator_user_id: transaction.initiator.to_string(),
        created_at: Some(timestamp(transaction.created_at)),
        updated_at: Some(timestamp(transaction.updated_at)),
        version: transaction.version,
        original_transaction_id: text(movement.refund().map(|refund| refund.original)),
        refunded: part(stored.refunded_minor),
        receivable: part(transaction.receivable()),
        fee: fee(&transaction.price, transaction.amount),
        conversion: transaction.price.conversion.as_ref().map(conversion),
        adjustment_reason: adjustment_reason_of(movement).into(),
        corrected_transaction_id: text(
            movement
                .adjustment()
                .and_then(|adjustment| adjustment.corrects),
        ),
        campaign_id: text(movement.campaign()),
        bonus_grant_id: text(movement.campaign().map(|_| transaction.grant_id())),
    }
}

/// An absent value is the empty text.
pub(crate) fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
