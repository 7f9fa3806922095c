//! What a transaction would cost and bring, promised for a while.
//!
//! A quote is used once, by a transaction of the user who asked for it, that does
//! just what the quote is for. It is used up with the intent that names it, also
//! when the transaction fails later: what it promised was kept.

use bursar_aip::id::{QuoteId, TransactionId, UserId, WalletId};
use bursar_money::{Money, PositiveMoney};
use thiserror::Error;
use time::OffsetDateTime;

use super::fee::{Fee, FeePayer};
use super::{Conversion, Movement, MovementKind};

/// What is added to a movement, or taken from it, on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// What it costs.
    pub fee: Option<Fee>,
    /// What the money becomes, when it changes its currency.
    pub conversion: Option<Conversion>,
}

/// A promise of a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The id.
    pub id: QuoteId,
    /// The user who asked for it.
    pub user: UserId,
    /// What the transaction does.
    pub kind: MovementKind,
    /// How much it moves.
    pub amount: PositiveMoney,
    /// The wallet the money must leave; `None` for any.
    pub from: Option<WalletId>,
    /// The wallet the money must reach; `None` for any.
    pub to: Option<WalletId>,
    /// What is promised.
    pub price: Price,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Until when it can be used.
    pub expires_at: OffsetDateTime,
    /// The transaction that has used it.
    pub used_by: Option<TransactionId>,
}

/// Why a quote cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuoteError {
    /// There is none, or it is another user's.
    #[error("no such quote")]
    NotFound,
    /// Its time is over.
    #[error("the quote has expired")]
    Expired,
    /// A transaction has used it.
    #[error("the quote was used before")]
    Used,
    /// It is for something else.
    #[error("the quote is for another {field}")]
    Mismatch {
        /// The field of the request that differs.
        field: &'static str,
    },
}

impl Price {
    /// What the sender bears of the fee, in minor units.
    pub fn added_minor(&self) -> i64 {
        self.borne_by(FeePayer::Sender)
    }

    /// What the recipient bears of the fee, in minor units.
    pub fn taken_minor(&self) -> i64 {
        self.borne_by(FeePayer::Recipient)
    }

    fn borne_by(&self, payer: FeePayer) -> i64 {
        self.fee
            .filter(|fee| fee.payer == payer)
            .map_or(0, |fee| fee.minor)
    }

    /// The fee in minor units, whoever bears it.
    pub fn fee_minor(&self) -> i64 {
        self.fee.map_or(0, |fee| fee.minor)
    }

    /// What leaves the sender for an amount. A price is made only for amounts where
    /// that fits.
    pub fn debited(&self, amount: PositiveMoney) -> Money {
        let minor = amount.minor().saturating_add(self.added_minor());
        Money::new(amount.currency(), minor)
    }

    /// What reaches the recipient of an amount, in the recipient's currency.
    pub fn credited(&self, amount: PositiveMoney) -> Money {
        match &self.conversion {
            Some(conversion) => conversion.amount.money(),
            None => Money::new(amount.currency(), amount.minor() - self.taken_minor()),
        }
    }
}

impl Quote {
    /// Whether it can be used at `now` by a user for such a movement.
    pub fn fits(
        &self,
        user: UserId,
        movement: &Movement,
        amount: PositiveMoney,
        now: OffsetDateTime,
    ) -> Result<(), QuoteError> {
        if user != self.user {
            return Err(QuoteError::NotFound);
        }
        if self.used_by.is_some() {
            return Err(QuoteError::Used);
        }
        if now >= self.expires_at {
            return Err(QuoteError::Expired);
        }
        let differs = |field| Err(QuoteError::Mismatch { field });
        if movement.kind() != self.kind {
            return differs("quote_id");
        }
        if amount != self.amount {
            return differs("amount");
        }
        let (from_field, to_field) = match self.kind {
            MovementKind::Transfer | MovementKind::Refund => ("from_wallet_id", "to_wallet_id"),
            MovementKind::Deposit
            | MovementKind::Withdrawal
            | MovementKind::Adjustment
            | MovementKind::BonusGrant => ("wallet_id", "wallet_id"),
        };
        if self.from.is_some() && movement.from_wallet() != self.from {
            return differs(from_field);
        }
        if self.to.is_some() && movement.to_wallet() != self.to {
            return differs(to_field);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
