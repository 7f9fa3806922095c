//! What a transaction costs: rules as data, which of them counts, and the
//! arithmetic of one.
//!
//! | movement   | who may bear the fee | the posting that moves the money |
//! |------------|----------------------|----------------------------------|
//! | transfer   | the sender           | payer −(amount + fee), fees +fee, payee +amount |
//! | transfer   | the recipient        | payer −amount, fees +fee, payee +(amount − fee) |
//! | deposit    | the recipient        | provider −amount, fees +fee, payee +(amount − fee) |
//! | withdrawal | the sender           | held −(amount + fee), fees +fee, provider +amount |
//! | refund     | nobody               | |
//!
//! A provider always moves the amount itself: its books and ours are compared by
//! it. So nobody outside can bear a fee, neither who pays a deposit in nor whom a
//! withdrawal is paid out to. A fee is never given back; a refund is of the amount.
//!
//! All arithmetic is in whole numbers of 128 bits, so nothing overflows between
//! the bounds of the contract, and a fraction of a minor unit is rounded once, as
//! the rule says.

use std::cmp::Reverse;

use bursar_aip::id::FeeRuleId;
use bursar_money::Currency;
use thiserror::Error;

use super::MovementKind;

/// The greatest amount that the ledger moves at once, in minor units.
pub const MAX_AMOUNT_MINOR: i64 = 1_000_000_000_000_000;
/// How many basis points are the whole.
pub(super) const WHOLE_BASIS_POINTS: i128 = 10_000;

/// Who bears a fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeePayer {
    /// Whose wallet the money leaves: on top of the amount.
    Sender,
    /// Whose wallet the money reaches: taken from the amount.
    Recipient,
}

/// What becomes of a fraction of a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, a half up.
    HalfUp,
    /// To the nearest, a half to the even one.
    HalfEven,
    /// Up.
    Up,
    /// Down.
    Down,
}

/// What a transaction costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fee {
    /// How much, in minor units of the transaction's currency; perhaps 0.
    pub minor: i64,
    /// Who bears it.
    pub payer: FeePayer,
    /// The rule that says so.
    pub rule: FeeRuleId,
}

/// What transactions of one kind and currency cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeeRule {
    /// The id. A rule never changes, so the id is its version.
    pub id: FeeRuleId,
    /// What the transactions do.
    pub kind: MovementKind,
    /// Their currency.
    pub currency: Currency,
    /// The least amount it is for, in minor units; 0 for any.
    pub from_minor: i64,
    /// The greatest amount it is for, in minor units.
    pub to_minor: Option<i64>,
    /// The fixed part, in minor units.
    pub fixed_minor: i64,
    /// The part of the amount: 10,000 are all of it.
    pub basis_points: i32,
    /// The least fee, in minor units.
    pub min_fee_minor: i64,
    /// The greatest fee, in minor units.
    pub max_fee_minor: Option<i64>,
    /// Who bears it.
    pub payer: FeePayer,
    /// What becomes of a fraction of a minor unit.
    pub rounding: Rounding,
    /// The higher goes before the lower.
    pub priority: i32,
}

/// A rule that makes no sense, with the field of the request that is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FeeRuleInvalid {
    /// Refunds are free.
    #[error("a refund has no fee")]
    Refund,
    /// What operators move costs nothing.
    #[error("what operators move has no fee")]
    BackOffice,
    /// Who pays a deposit in has no wallet to take a fee from.
    #[error("the fee of a deposit is borne by the recipient")]
    DepositSender,
    /// Whom a withdrawal is paid out to gets the whole amount.
    #[error("the fee of a withdrawal is borne by the sender")]
    WithdrawalRecipient,
    /// No amount is in the range.
    #[error("the range of amounts is empty")]
    RangeEmpty,
    /// The maximum is below the minimum.
    #[error("the greatest fee is below the least")]
    BoundsCrossed,
    /// The fixed part alone is above the maximum.
    #[error("the fixed part is above the greatest fee")]
    FixedAboveMaximum,
}

impl FeeRuleInvalid {
    /// The field of the request.
    pub fn field(self) -> &'static str {
        match self {
            Self::Refund | Self::BackOffice => "type",
            Self::DepositSender | Self::WithdrawalRecipient => "payer",
            Self::RangeEmpty => "to_amount_minor",
            Self::BoundsCrossed => "max_fee_minor",
            Self::FixedAboveMaximum => "fixed_minor",
        }
    }
}

impl FeeRule {
    /// Whether the rule makes sense; the bounds of each number are the contract's.
    pub fn validate(&self) -> Result<(), FeeRuleInvalid> {
        match (self.kind, self.payer) {
            (MovementKind::Refund, _) => return Err(FeeRuleInvalid::Refund),
            (MovementKind::Adjustment | MovementKind::BonusGrant, _) => {
                return Err(FeeRuleInvalid::BackOffice);
            }
            (MovementKind::Deposit, FeePayer::Sender) => return Err(FeeRuleInvalid::DepositSender),
            (MovementKind::Withdrawal, FeePayer::Recipient) => {
                return Err(FeeRuleInvalid::WithdrawalRecipient);
            }
            (MovementKind::Transfer, _)
            | (MovementKind::Deposit, FeePayer::Recipient)
            | (MovementKind::Withdrawal, FeePayer::Sender) => {}
        }
        if self.to_minor.is_some_and(|to| to < self.from_minor) {
            return Err(FeeRuleInvalid::RangeEmpty);
        }
        if let Some(max) = self.max_fee_minor {
            if max < self.min_fee_minor {
                return Err(FeeRuleInvalid::BoundsCrossed);
            }
            if max < self.fixed_minor {
                return Err(FeeRuleInvalid::FixedAboveMaximum);
            }
        }
        Ok(())
    }

    /// Whether it is for such a transaction.
    pub fn fits(&self, kind: MovementKind, currency: Currency, amount_minor: i64) -> bool {
        self.kind == kind
            && self.currency == currency
            && amount_minor >= self.from_minor
            && self.to_minor.is_none_or(|to| amount_minor <= to)
    }

    /// What an amount costs. Of a fee that the recipient bears at least one minor
    /// unit is left, so that there is still something to credit.
    pub fn fee(&self, amount_minor: i64) -> Fee {
        let part = i128::from(amount_minor) * i128::from(self.basis_points);
        let whole = i128::from(self.fixed_minor) + self.rounding.divide(part, WHOLE_BASIS_POINTS);
        let bounded = whole
            .max(i128::from(self.min_fee_minor))
            .min(self.max_fee_minor.map_or(i128::MAX, i128::from));
        let fee = match self.payer {
            FeePayer::Sender => bounded,
            FeePayer::Recipient => bounded.min(i128::from(amount_minor) - 1),
        };
        Fee {
            // The contract's bounds keep it far below this.
            minor: i64::try_from(fee.max(0)).unwrap_or(i64::MAX),
            payer: self.payer,
            rule: self.id,
        }
    }

    /// How wide its range of amounts is.
    fn width(&self) -> i64 {
        self.to_minor.unwrap_or(i64::MAX) - self.from_minor
    }
}

/// The rule that counts for a transaction: of those that fit the one with the
/// highest priority, then the one with the narrowest range, then the newest. Ids
/// are different, so there is always exactly one, whatever the order of the rules.
pub fn choose<'a>(
    rules: impl IntoIterator<Item = &'a FeeRule>,
    kind: MovementKind,
    currency: Currency,
    amount_minor: i64,
) -> Option<&'a FeeRule> {
    rules
        .into_iter()
        .filter(|rule| rule.fits(kind, currency, amount_minor))
        .max_by_key(|rule| (rule.priority, Reverse(rule.width()), rule.id))
}

impl FeePayer {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sender, Self::Recipient];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sender => "SENDER",
            Self::Recipient => "RECIPIENT",
        }
    }

    /// The payer of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|payer| payer.name() == name)
    }
}

impl Rounding {
    /// Every way of rounding.
    pub const ALL: [Self; 4] = [Self::HalfUp, Self::HalfEven, Self::Up, Self::Down];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::HalfUp => "HALF_UP",
            Self::HalfEven => "HALF_EVEN",
            Self::Up => "UP",
            Self::Down => "DOWN",
        }
    }

    /// The way of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }

    /// A quotient of numbers that are not negative, as a whole number.
    fn divide(self, dividend: i128, divisor: i128) -> i128 {
        let (quotient, rest) = (dividend / divisor, dividend % divisor);
        let goes_up = match self {
            Self::Down => false,
            Self::Up => rest > 0,
            Self::HalfUp => 2 * rest >= divisor,
            Self::HalfEven => 2 * rest > divisor || (2 * rest == divisor && quotient % 2 == 1),
        };
        quotient + i128::from(goes_up)
    }
}

#[cfg(test)]
mod tests;
