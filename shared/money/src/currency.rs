//! A currency that the platform knows.

use std::fmt;
use std::str::FromStr;

use crate::iso4217::ACTIVE;

/// An active currency of ISO 4217. It orders by its code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(&'static Entry);

/// A row of the table of currencies.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    code: &'static str,
    exponent: u8,
}

impl Entry {
    pub(crate) const fn new(code: &'static str, exponent: u8) -> Self {
        Self { code, exponent }
    }
}

impl Currency {
    /// The currency with this alphabetic code, such as "EUR". Codes are upper
    /// case; anything else is unknown.
    pub fn parse(code: &str) -> Result<Self, CurrencyUnknown> {
        ACTIVE
            .binary_search_by(|entry| entry.code.cmp(code))
            .ok()
            .and_then(|index| ACTIVE.get(index))
            .map(Self)
            .ok_or(CurrencyUnknown)
    }

    /// Every known currency, in the order of the codes.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        ACTIVE.iter().map(Self)
    }

    /// The alphabetic code: three letters, upper case.
    pub fn code(self) -> &'static str {
        self.0.code
    }

    /// How many digits stand after the point: 2 for EUR, 0 for JPY. At most 4.
    pub fn exponent(self) -> u8 {
        self.0.exponent
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = CurrencyUnknown;

    fn from_str(code: &str) -> Result<Self, CurrencyUnknown> {
        Self::parse(code)
    }
}

/// The code is no active currency of ISO 4217 with a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an active ISO 4217 currency code")]
pub struct CurrencyUnknown;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table can be searched: sorted, no code twice, codes of three
    /// capitals, exponents that the standard uses.
    #[test]
    fn the_table_is_in_order() {
        assert!(ACTIVE.windows(2).all(|pair| pair[0].code < pair[1].code));
        for entry in &ACTIVE {
            assert_eq!(entry.code.len(), 3, "{}", entry.code);
            assert!(entry.code.bytes().all(|byte| byte.is_ascii_uppercase()));
            assert!(matches!(entry.exponent, 0 | 2 | 3 | 4), "{}", entry.code);
        }
    }

    /// Every listed currency is found by its code.
    #[test]
    fn every_currency_is_found_by_its_code() {
        for currency in Currency::all() {
            assert_eq!(Currency::parse(currency.code()), Ok(currency));
            assert_eq!(currency.to_string().parse(), Ok(currency));
        }
        assert_eq!(Currency::all().len(), 165);
    }

    /// The currencies whose minor unit is not a hundredth, in full.
    #[test]
    fn exponents_follow_the_standard() {
        let with = |exponent| {
            Currency::all()
                .filter(|currency| currency.exponent() == exponent)
                .map(Currency::code)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            with(0),
            "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
        );
        assert_eq!(with(3), "BHD IQD JOD KWD LYD OMR TND");
        assert_eq!(with(4), "CLF UYW");
    }

    /// Withdrawn codes, codes without a minor unit and other spellings are unknown.
    #[test]
    fn what_is_no_currency_is_unknown() {
        for code in [
            "", "E", "EU", "EURO", "eur", "Eur", " EUR", "EUR ", "DEM", "BGN", "XAU", "XXX", "XTS",
        ] {
            assert_eq!(Currency::parse(code), Err(CurrencyUnknown), "{code:?}");
        }
    }

    proptest! {
        /// No text breaks the parser, and what it takes it gives back.
        #[test]
        fn any_text_is_known_or_refused(text in ".{0,5}") {
            if let Ok(currency) = Currency::parse(&text) {
                prop_assert_eq!(currency.code(), text);
            }
        }
    }
}
