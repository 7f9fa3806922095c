//! Amounts of money and their arithmetic.

use std::fmt;
use std::str::FromStr;

use crate::currency::{Currency, CurrencyUnknown};

/// An amount, negative ones included, in whole minor units of one currency.
///
/// It has no order and no `+`: comparing or adding needs equal currencies and
/// can overflow, so both ask for a decision at the call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    currency: Currency,
    minor: i64,
}

impl Money {
    /// An amount of `minor` minor units: 1234 of EUR are 12.34 euros.
    pub fn new(currency: Currency, minor: i64) -> Self {
        Self { currency, minor }
    }

    /// Nothing of a currency.
    pub fn zero(currency: Currency) -> Self {
        Self::new(currency, 0)
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The amount in minor units.
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The sum of two amounts of one currency.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// The difference of two amounts of one currency.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    /// The amount with the other sign. `i64::MIN` has none.
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_neg().ok_or(MoneyError::Overflow)?;
        Ok(Self::new(self.currency, minor))
    }

    fn combine(
        self,
        other: Self,
        operation: fn(i64, i64) -> Option<i64>,
    ) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch {
                left: self.currency,
                right: other.currency,
            });
        }
        let minor = operation(self.minor, other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(self.currency, minor))
    }
}

/// Writes "12.34 EUR", "-0.05 EUR", "500 JPY": always all digits of the minor unit.
impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "-" } else { "" };
        let units = self.minor.unsigned_abs();
        let digits = usize::from(self.currency.exponent());
        let code = self.currency;
        if digits == 0 {
            return write!(formatter, "{sign}{units} {code}");
        }
        let scale = 10_u64.pow(u32::from(code.exponent()));
        let (whole, rest) = (units / scale, units % scale);
        write!(formatter, "{sign}{whole}.{rest:0digits$} {code}")
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Reads what `Display` writes, and nothing else: no grouping, no missing or
/// extra digits, no plus sign, no leading zeros.
impl FromStr for Money {
    type Err = MoneyParseError;

    fn from_str(text: &str) -> Result<Self, MoneyParseError> {
        let (number, code) = text.split_once(' ').ok_or(MoneyParseError::Malformed)?;
        let currency = Currency::parse(code)?;
        let minor = number
            .replacen('.', "", 1)
            .parse()
            .map_err(|_| MoneyParseError::Malformed)?;
        let money = Self::new(currency, minor);
        // The canonical form is unique, so writing it again settles every
        // question of digits, zeros and signs.
        if money.to_string() == text {
            Ok(money)
        } else {
            Err(MoneyParseError::Malformed)
        }
    }
}

/// An amount greater than zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PositiveMoney(Money);

impl PositiveMoney {
    /// An amount of `minor` minor units, which must be 1 or more.
    pub fn new(currency: Currency, minor: i64) -> Result<Self, AmountNotPositive> {
        Self::try_from(Money::new(currency, minor))
    }

    /// The amount as plain money, for arithmetic.
    pub fn money(self) -> Money {
        self.0
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.0.currency
    }

    /// The amount in minor units, 1 or more.
    pub fn minor(self) -> i64 {
        self.0.minor
    }
}

impl TryFrom<Money> for PositiveMoney {
    type Error = AmountNotPositive;

    fn try_from(money: Money) -> Result<Self, AmountNotPositive> {
        if money.minor > 0 {
            Ok(Self(money))
        } else {
            Err(AmountNotPositive)
        }
    }
}

impl From<PositiveMoney> for Money {
    fn from(positive: PositiveMoney) -> Self {
        positive.0
    }
}

impl fmt::Display for PositiveMoney {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for PositiveMoney {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// Why two amounts have no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The amounts are of different currencies.
    #[error("{left} and {right} do not mix")]
    CurrencyMismatch {
        /// The currency of the amount on the left.
        left: Currency,
        /// The currency of the amount on the right.
        right: Currency,
    },
    /// The result does not fit 64 bits.
    #[error("the amount does not fit 64 bits")]
    Overflow,
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyParseError {
    /// The text is not of the form "12.34 EUR", or the number does not fit.
    #[error("not an amount such as `12.34 EUR`")]
    Malformed,
    /// The currency is unknown.
    #[error(transparent)]
    Currency(#[from] CurrencyUnknown),
}

/// The amount is zero or less where money must move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amount must be positive")]
pub struct AmountNotPositive;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).expect("the test names a real currency")
    }

    fn any_currency() -> impl Strategy<Value = Currency> {
        proptest::sample::select(Currency::all().collect::<Vec<_>>())
    }

    fn any_money() -> impl Strategy<Value = Money> {
        (any_currency(), any::<i64>()).prop_map(|(currency, minor)| Money::new(currency, minor))
    }

    /// Amounts read as people write them, whatever the minor unit.
    #[test]
    fn display_places_the_point() {
        for (minor, code, text) in [
            (1234, "EUR", "12.34 EUR"),
            (5, "EUR", "0.05 EUR"),
            (-5, "EUR", "-0.05 EUR"),
            (0, "EUR", "0.00 EUR"),
            (500, "JPY", "500 JPY"),
            (1, "KWD", "0.001 KWD"),
            (123_456, "CLF", "12.3456 CLF"),
            (i64::MIN, "EUR", "-92233720368547758.08 EUR"),
            (i64::MAX, "JPY", "9223372036854775807 JPY"),
        ] {
            assert_eq!(Money::new(currency(code), minor).to_string(), text);
        }
    }

    /// Only the one written form of an amount is read.
    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "EUR",
            "12.34",
            " EUR",
            "12.34EUR",
            "12.34  EUR",
            "12.3 EUR",
            "12.345 EUR",
            "12 EUR",
            "1,234.00 EUR",
            "+1.00 EUR",
            "01.00 EUR",
            "-0.00 EUR",
            ".50 EUR",
            "1. EUR",
            "1.0.0 EUR",
            "1.00 EUR ",
            "5.00 JPY",
            "1e2 EUR",
            "92233720368547758.08 EUR",
            "٣.٠٠ EUR",
        ] {
            assert!(text.parse::<Money>().is_err(), "{text:?}");
        }
        assert_eq!("1 EUR".parse::<Money>(), Err(MoneyParseError::Malformed));
        assert_eq!(
            "1.00 DEM".parse::<Money>(),
            Err(MoneyParseError::Currency(CurrencyUnknown))
        );
    }

    /// The ends of the range are errors, never a wrapped amount.
    #[test]
    fn overflow_is_an_error() {
        let money = |minor| Money::new(currency("EUR"), minor);
        assert_eq!(
            money(i64::MAX).checked_add(money(1)),
            Err(MoneyError::Overflow)
        );
        assert_eq!(
            money(i64::MIN).checked_sub(money(1)),
            Err(MoneyError::Overflow)
        );
        assert_eq!(money(i64::MIN).checked_neg(), Err(MoneyError::Overflow));
        assert_eq!(money(i64::MAX).checked_neg(), Ok(money(-i64::MAX)));
    }

    /// Zero and less is not positive; the smallest positive amount is 1.
    #[test]
    fn positive_starts_at_one() {
        let eur = currency("EUR");
        for minor in [0, -1, i64::MIN] {
            assert_eq!(PositiveMoney::new(eur, minor), Err(AmountNotPositive));
        }
        for minor in [1, i64::MAX] {
            let positive = PositiveMoney::new(eur, minor).expect("positive");
            assert_eq!(Money::from(positive), Money::new(eur, minor));
            assert_eq!(positive.money().minor(), positive.minor());
        }
    }

    proptest! {
        /// Taking away what was added gives the amount back, in any order.
        #[test]
        fn subtraction_undoes_addition(
            currency in any_currency(),
            left in any::<i64>(),
            right in any::<i64>(),
        ) {
            let (left, right) = (Money::new(currency, left), Money::new(currency, right));
            let sum = left.checked_add(right);
            prop_assert_eq!(sum, right.checked_add(left));
            if let Ok(sum) = sum {
                prop_assert_eq!(sum.checked_sub(right), Ok(left));
                prop_assert_eq!(sum.checked_sub(left), Ok(right));
            }
        }

        /// A result exists exactly when it fits, and then it is the right one.
        #[test]
        fn overflow_is_detected_exactly(
            currency in any_currency(),
            left in any::<i64>(),
            right in any::<i64>(),
        ) {
            let expected = |wide: i128| {
                i64::try_from(wide)
                    .map(|minor| Money::new(currency, minor))
                    .map_err(|_| MoneyError::Overflow)
            };
            let money = |minor| Money::new(currency, minor);
            let (wide_left, wide_right) = (i128::from(left), i128::from(right));
            prop_assert_eq!(money(left).checked_add(money(right)), expected(wide_left + wide_right));
            prop_assert_eq!(money(left).checked_sub(money(right)), expected(wide_left - wide_right));
            prop_assert_eq!(money(left).checked_neg(), expected(-wide_left));
        }

        /// Amounts of different currencies never meet.
        #[test]
        fn currencies_do_not_mix(left in any_money(), right in any_money()) {
            prop_assume!(left.currency() != right.currency());
            let mismatch = Err(MoneyError::CurrencyMismatch {
                left: left.currency(),
                right: right.currency(),
            });
            prop_assert_eq!(left.checked_add(right), mismatch);
            prop_assert_eq!(left.checked_sub(right), mismatch);
        }

        /// What is written is read back as the same amount.
        #[test]
        fn display_and_parse_are_inverse(money in any_money()) {
            prop_assert_eq!(money.to_string().parse::<Money>(), Ok(money));
        }

        /// No text breaks the parser, and what it takes has one spelling.
        #[test]
        fn any_text_is_read_or_refused(text in "-?[0-9.]{0,22} ?[A-Z]{0,4}|.{0,12}") {
            if let Ok(money) = text.parse::<Money>() {
                prop_assert_eq!(money.to_string(), text);
            }
        }
    }
}
