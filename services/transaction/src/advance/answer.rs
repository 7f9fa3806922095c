//! What a create call is answered, and where that answer is kept.
//!
//! The answer is decided by where the transaction rests: FAILED is its error,
//! PENDING is no answer yet (the ledger has not spoken, and the same key tried
//! again goes on), everything else is the transaction as it stands. What is
//! answered once is answered so for ever, even if the transaction goes on.

use bursar_aip::id::TenantId;
use bursar_aip::idempotency::{Answer, Key, Scope};
use bursar_contracts::transaction::v1::{
    self as contract, CreateAdjustmentResponse, CreateBonusGrantResponse, CreateDepositResponse,
    CreateRefundResponse, CreateTransferResponse, CreateWithdrawalResponse,
};
use bursar_server::{Context, canary};
use prost::Message;
use tonic::Status;

use crate::contract as translate;
use crate::domain::{MovementKind, State};
use crate::error::Error;
use crate::store::transactions::Stored;

/// A response of a create call.
pub(crate) trait AnswerForm: Message + Default + Send + 'static {
    /// The response about a transaction.
    fn about(transaction: contract::Transaction) -> Self;
}

impl AnswerForm for CreateAdjustmentResponse {
    fn about(transaction: contract::Transaction) -> Self {
        Self {
            transaction: Some(transaction),
        }
    }
}

impl AnswerForm for CreateBonusGrantResponse {
    fn about(transaction: contract::Transaction) -> Self {
        Self {
            transaction: Some(transaction),
        }
    }
}

impl AnswerForm for CreateDepositResponse {
    fn about(transaction: contract::Transaction) -> Self {
        Self {
            transaction: Some(transaction),
        }
    }
}

impl AnswerForm for CreateRefundResponse {
    fn about(transaction: contract::Transaction) -> Self {
        Self {
            transaction: Some(transaction),
        }
    }
}

impl AnswerForm for CreateTransferResponse {
    fn about(transaction: contract::Transaction) -> Self {
        Self {
            transaction: Some(transaction),
        }
    }
}

impl AnswerForm for CreateWithdrawalResponse {
    fn about(transaction: contract::Transaction) -> Self {
        Self {
            transaction: Some(transaction),
        }
    }
}

/// The place of an answer: the key of the caller's first request.
#[derive(Clone, Debug)]
pub(crate) struct Freeze {
    /// The tenant of the caller.
    pub(crate) tenant: TenantId,
    /// Who asked.
    pub(crate) principal: String,
    /// The RPC's path.
    pub(crate) method: &'static str,
    /// The key.
    pub(crate) key: Key,
}

impl Freeze {
    /// The place of a call's answer; `None` for a call without a key.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        Some(Self {
            tenant: context.caller.tenant.clone(),
            principal: context.caller.principal(),
            method: context.method,
            key: context.idempotency_key.clone()?,
        })
    }

    /// The key's scope.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            tenant: &self.tenant,
            principal: &self.principal,
            method: self.method,
            key: &self.key,
        }
    }

    /// The answer to keep about a transaction where it rests; `None` while
    /// there is none.
    pub(crate) fn answer(&self, stored: &Stored) -> Option<Answer> {
        if canary!("answer.not_kept") {
            return None;
        }
        match stored.transaction.movement.kind() {
            MovementKind::Transfer => keep::<CreateTransferResponse>(stored),
            MovementKind::Deposit => keep::<CreateDepositResponse>(stored),
            MovementKind::Withdrawal => keep::<CreateWithdrawalResponse>(stored),
            MovementKind::Refund => keep::<CreateRefundResponse>(stored),
            MovementKind::Adjustment => keep::<CreateAdjustmentResponse>(stored),
            MovementKind::BonusGrant => keep::<CreateBonusGrantResponse>(stored),
        }
    }
}

fn keep<T: AnswerForm>(stored: &Stored) -> Option<Answer> {
    match answer_of::<T>(stored) {
        Ok(response) => Some(Answer::response(&response)),
        Err(error @ Error::Failed { .. }) => Some(Answer::error(&Status::from(error))),
        Err(_) => None,
    }
}

/// The answer about a transaction where it rests.
pub(crate) fn answer_of<T: AnswerForm>(stored: &Stored) -> Result<T, Error> {
    let transaction = &stored.transaction;
    if transaction.state == State::Pending {
        return Err(Error::LedgerUnavailable {
            transaction: Some(transaction.id),
        });
    }
    match Error::of_failed(transaction) {
        Some(error) => Err(error),
        None => Ok(T::about(translate::transaction(stored))),
    }
}
