//! What money of one currency becomes in another.
//!
//! A rate is an exact decimal number of units for a unit, as somebody said it at a
//! time. It is applied in whole numbers: minor units, their exponents and the
//! platform's spread are one fraction, which is rounded down once. So the platform
//! never gives more than the rate says, and money sent there and back never grows.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bursar_aip::id::ExchangeRateId;
use bursar_money::{Currency, PositiveMoney};
use thiserror::Error;
use time::OffsetDateTime;

use super::fee::{MAX_AMOUNT_MINOR, WHOLE_BASIS_POINTS};

/// How many digits a rate may have before the point.
const WHOLE_DIGITS: usize = 9;
/// How many digits a rate may have behind the point.
const DECIMALS: usize = 12;
/// One, as a rate holds it.
const ONE: i128 = 10_i128.pow(12);

/// How many units of one currency are got for a unit of another, as a count of
/// 10⁻¹² units; above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(i128);

/// The text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a rate is a number above 0 with at most {WHOLE_DIGITS} digits before the point and {DECIMALS} behind it"
)]
pub struct RateInvalid;

/// What one currency is worth in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRate {
    /// The id. A rate never changes.
    pub id: ExchangeRateId,
    /// The currency that is given.
    pub from: Currency,
    /// The currency that is got.
    pub to: Currency,
    /// How many units of the one for a unit of the other.
    pub rate: Rate,
    /// What the platform keeps of what is got; 10,000 would be all of it.
    pub spread_basis_points: i32,
    /// Who said so.
    pub source: String,
    /// When it was so.
    pub observed_at: OffsetDateTime,
}

/// What an amount becomes on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// What arrives.
    pub amount: PositiveMoney,
    /// The rate.
    pub rate: Rate,
    /// What the platform keeps of what is got.
    pub spread_basis_points: i32,
    /// Who said so.
    pub source: String,
    /// When it was so.
    pub observed_at: OffsetDateTime,
    /// The exchange rate.
    pub exchange_rate: ExchangeRateId,
}

/// Why an amount cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConvertError {
    /// Less than a minor unit would arrive.
    #[error("the amount is too small to be worth anything in the other currency")]
    TooSmall,
    /// More would arrive than the ledger moves at once.
    #[error("the amount is too great in the other currency")]
    TooLarge,
}

impl ExchangeRate {
    /// Whether it is too old to be used.
    pub fn is_stale(&self, max_age: Duration, now: OffsetDateTime) -> bool {
        self.observed_at + max_age < now
    }

    /// What an amount of minor units of the one currency becomes in the other.
    pub fn convert(&self, minor: i64) -> Result<Conversion, ConvertError> {
        let got = self.got(minor).ok_or(ConvertError::TooLarge)?;
        let got = i64::try_from(got).map_err(|_| ConvertError::TooLarge)?;
        if got > MAX_AMOUNT_MINOR {
            return Err(ConvertError::TooLarge);
        }
        Ok(Conversion {
            amount: PositiveMoney::new(self.to, got).map_err(|_| ConvertError::TooSmall)?,
            rate: self.rate,
            spread_basis_points: self.spread_basis_points,
            source: self.source.clone(),
            observed_at: self.observed_at,
            exchange_rate: self.id,
        })
    }

    /// What is got in minor units, rounded down. The product leaves 128 bits only
    /// where the quotient is far beyond what the ledger moves: the divisor is at
    /// most 10²⁰.
    fn got(&self, minor: i64) -> Option<i128> {
        let kept = i128::from(self.spread_basis_points);
        let product = i128::from(minor)
            .checked_mul(self.rate.0)?
            .checked_mul(WHOLE_BASIS_POINTS - kept)?
            .checked_mul(scale(self.to))?;
        Some(product / (ONE * WHOLE_BASIS_POINTS * scale(self.from)))
    }
}

/// How many minor units a unit of a currency has.
fn scale(currency: Currency) -> i128 {
    10_i128.pow(u32::from(currency.exponent()))
}

/// Reads digits with at most one point between them.
impl FromStr for Rate {
    type Err = RateInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, decimals) = match text.split_once('.') {
            Some((_, "")) => return Err(RateInvalid),
            Some((whole, decimals)) => (whole, decimals),
            None => (text, ""),
        };
        let has_zeros = whole.len() > 1 && whole.starts_with('0');
        let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let fits = (1..=WHOLE_DIGITS).contains(&whole.len())
            && decimals.len() <= DECIMALS
            && are_digits(whole)
            && are_digits(decimals);
        if !fits || has_zeros {
            return Err(RateInvalid);
        }
        let count: i128 = format!("{whole}{decimals:0<DECIMALS$}")
            .parse()
            .map_err(|_| RateInvalid)?;
        if count == 0 {
            return Err(RateInvalid);
        }
        Ok(Self(count))
    }
}

/// Writes the number without zeros at its end: one number has one text.
impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / ONE, self.0 % ONE);
        if decimals == 0 {
            return write!(formatter, "{whole}");
        }
        let digits = format!("{decimals:0DECIMALS$}");
        write!(formatter, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests;
