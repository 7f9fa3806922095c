//! What is screened.

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use bursar_money::PositiveMoney;
use time::OffsetDateTime;

use crate::domain::{Movement, MovementKind, ProviderName, Transaction};

/// A transaction as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The tenant whose rules count.
    pub(crate) tenant: TenantId,
    /// Its id, which is none of its history's.
    pub(crate) transaction: TransactionId,
    /// Who asks for it.
    pub(crate) user: UserId,
    /// What it does.
    pub(crate) kind: MovementKind,
    /// How much it moves.
    pub(crate) amount: PositiveMoney,
    /// The wallet that a transfer goes to.
    pub(crate) payee: Option<WalletId>,
    /// The provider of a deposit or a withdrawal.
    pub(crate) provider: Option<ProviderName>,
    /// When it was asked for.
    pub(crate) at: OffsetDateTime,
}

impl Subject {
    /// The subject that a transaction is; `None` for a refund, which gives back what
    /// was screened when it came, and is limited by it.
    pub(crate) fn of(tenant: &TenantId, transaction: &Transaction) -> Option<Self> {
        Self::wanted(
            tenant,
            transaction.id,
            transaction.initiator,
            &transaction.movement,
            transaction.amount,
            transaction.created_at,
        )
    }

    /// The subject that a transaction will be.
    pub(crate) fn wanted(
        tenant: &TenantId,
        transaction: TransactionId,
        user: UserId,
        movement: &Movement,
        amount: PositiveMoney,
        at: OffsetDateTime,
    ) -> Option<Self> {
        let payee = match movement {
            Movement::Transfer { to, .. } => Some(*to),
            Movement::Deposit { .. } | Movement::Withdrawal { .. } => None,
            Movement::Refund(_) | Movement::Adjustment(_) | Movement::BonusGrant { .. } => {
                return None;
            }
        };
        Some(Self {
            tenant: tenant.clone(),
            transaction,
            user,
            kind: movement.kind(),
            amount,
            payee,
            provider: movement.provider().cloned(),
            at,
        })
    }
}
