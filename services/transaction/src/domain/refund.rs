//! Giving back what a transaction has moved.
//!
//! | original | who may ask | the money goes | when the payer has not got it |
//! |---|---|---|---|
//! | transfer | who received it; operators | from the receiver's wallet to the sender's, one posting | FAILED |
//! | deposit  | operators | from the wallet by the provider that took it in | the platform pays the rest |
//! | withdrawal, refund, transfer between currencies | nobody | | |
//!
//! A refund gives back of the amount. What the original cost is not given back,
//! whoever bore it: of a fee that the recipient bore, the recipient's wallet gives
//! back what it never got.
//!
//! **Never more than the original.** The original's row has a reserve: the sum of
//! its refunds that have not failed. The reserve grows under a lock of that row
//! in the database transaction that records a refund's intent, and shrinks in the
//! one that records its failure. So it is exact whatever dies in between.
//!
//! **A deposit that was spent.** The provider is asked to give the money back to
//! whom it came from, and what the wallet has not got becomes a receivable: a
//! claim on the wallet's owner, in a wallet of the platform's that is named after
//! the user's. The user's wallet never falls below its floor. What each of them
//! pays is decided before the provider is asked:
//!
//! 1. The whole amount is to be set aside in the wallet. When the ledger takes
//!    that, there is no shortfall.
//! 2. When the ledger refuses it for want of money, finally (no other attempt of
//!    the posting can still arrive, or its id was barred), the wallet's balance is
//!    read and `transaction.shortfall_found` names the wallet's share. The balance
//!    is only a hint: the share is set aside by a posting with an id of its own,
//!    made from the number of the share, and may be refused in its turn; then the
//!    next share is found in the same way.
//! 3. After [`MAX_SHARES`] the share is nothing at all, which nobody can refuse.
//!
//! Since a share is recorded before its posting is sent, and every earlier posting
//! can no longer happen, at most one of them is ever in the ledger. The receivable
//! itself is posted with the capture, once the provider has given the money back:
//! a refund that fails leaves no claim. A claim is made for money that is not
//! there, never instead of money that is: a wallet that is frozen or has reached a
//! limit makes the refund fail, and a closed one, which is empty, has no share.

use bursar_aip::id::UserId;
use bursar_money::{Currency, PositiveMoney};
use thiserror::Error;

use super::{Back, Movement, Refund, Refusal, RefusalReason, Side, State, Transaction};

/// How many shares of the wallet's are found before the platform pays all.
pub const MAX_SHARES: u32 = 4;

/// Who asks for a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A user, for a transaction of theirs.
    User(UserId),
    /// An operator.
    Operator,
}

/// Why there is no refund.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RefundError {
    /// The user has nothing to do with the transaction.
    #[error("no such transaction")]
    NotFound,
    /// The user is not the one who can send it back.
    #[error("a transfer is sent back by who received it, anything else refunded by an operator")]
    NotPermitted,
    /// It is no transfer and no deposit.
    #[error("only transfers and deposits can be refunded")]
    NotRefundable,
    /// It has changed its currency, and at another rate it would not come back.
    #[error(
        "a transfer between currencies cannot be refunded; the money can be sent back by another transfer"
    )]
    Converted,
    /// It has not come to its good end.
    #[error("the transaction is not completed")]
    NotCompleted,
    /// The amount has another currency.
    #[error("the transaction has another currency than the amount")]
    CurrencyMismatch,
    /// Less is left than is asked for.
    #[error("only {left_minor} of the transaction is left to give back")]
    Exceeds {
        /// How much is left, in minor units.
        left_minor: i64,
    },
}

/// What a refund moves and how much, given what is reserved for refunds of the
/// original already. Without an amount it is all that is left. Decided while the
/// original's row is locked.
pub fn plan(
    original: &Transaction,
    reserved_minor: i64,
    amount: Option<PositiveMoney>,
    asker: Asker,
) -> Result<(Movement, PositiveMoney), RefundError> {
    if let Asker::User(user) = asker
        && original.initiator != user
        && original.beneficiary != Some(user)
        && original.movement.payer() != Some(user)
    {
        return Err(RefundError::NotFound);
    }
    let currency = original.amount.currency();
    // Every original that can be refunded reached somebody's wallet.
    let (from, back) = match &original.movement {
        Movement::Transfer { from, to } => (*to, Back::Wallet(*from)),
        Movement::Deposit { to, provider } => {
            let provider = provider.clone();
            let covers_shortfall = true;
            let back = Back::Provider {
                provider,
                covers_shortfall,
            };
            (*to, back)
        }
        Movement::Withdrawal { .. }
        | Movement::Refund(_)
        | Movement::Adjustment(_)
        | Movement::BonusGrant { .. } => {
            return Err(RefundError::NotRefundable);
        }
    };
    let may_ask = match (asker, &back) {
        (Asker::Operator, _) => true,
        (Asker::User(user), Back::Wallet(_)) => match original.beneficiary {
            Some(beneficiary) => beneficiary == user,
            // Not completed yet, which is the better answer to the payer of it.
            None => true,
        },
        (Asker::User(_), Back::Provider { .. }) => false,
    };
    if !may_ask {
        return Err(RefundError::NotPermitted);
    }
    if original.price.conversion.is_some() {
        return Err(RefundError::Converted);
    }
    let (State::Completed, Some(payer)) = (original.state, original.beneficiary) else {
        return Err(RefundError::NotCompleted);
    };
    let amount = fit(original.amount.minor(), reserved_minor, currency, amount)?;
    let refund = Refund {
        original: original.id,
        payer,
        from,
        back,
    };
    Ok((Movement::Refund(refund), amount))
}

/// The amount asked for, or all that is left, if that much is left.
fn fit(
    original_minor: i64,
    reserved_minor: i64,
    currency: Currency,
    amount: Option<PositiveMoney>,
) -> Result<PositiveMoney, RefundError> {
    let left_minor = original_minor.saturating_sub(reserved_minor).max(0);
    let left = PositiveMoney::new(currency, left_minor)
        .map_err(|_| RefundError::Exceeds { left_minor })?;
    match amount {
        None => Ok(left),
        Some(amount) if amount.currency() != currency => Err(RefundError::CurrencyMismatch),
        Some(amount) if amount.minor() > left_minor => Err(RefundError::Exceeds { left_minor }),
        Some(amount) => Ok(amount),
    }
}

/// What follows from a final refusal of the opening posting of a refund for whose
/// shortfall the platform stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortfall {
    /// It is to be seen what the wallet has.
    Measure,
    /// The wallet pays nothing.
    PayNothing,
}

impl Transaction {
    /// Where a shortfall is covered and the refusal is one, what to do about it.
    pub(super) fn shortfall(&self, refusal: Refusal) -> Option<Shortfall> {
        if !self.covers_shortfall() || refusal.side != Side::Payer {
            return None;
        }
        match refusal.reason {
            RefusalReason::InsufficientFunds if self.shares() < MAX_SHARES => {
                Some(Shortfall::Measure)
            }
            RefusalReason::InsufficientFunds | RefusalReason::WalletClosed => {
                Some(Shortfall::PayNothing)
            }
            RefusalReason::WalletNotFound
            | RefusalReason::CurrencyMismatch
            | RefusalReason::WalletFrozen
            | RefusalReason::BalanceOverflow
            | RefusalReason::SingleLimitExceeded
            | RefusalReason::DailyLimitExceeded
            | RefusalReason::MonthlyLimitExceeded
            | RefusalReason::BonusCampaignNotFound
            | RefusalReason::BonusCampaignNotActive
            | RefusalReason::BonusCapExceeded
            | RefusalReason::BonusBudgetExhausted => None,
        }
    }
}
