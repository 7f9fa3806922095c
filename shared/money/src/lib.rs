//! Money: currencies, amounts in whole minor units, and arithmetic that cannot
//! go wrong silently.
//!
//! An amount is an `i64` count of the minor units of one ISO 4217 currency.
//! Two amounts of different currencies never meet, a result that does not fit
//! is an error, and nothing here is a floating point number or panics.
//!
//! The crate is pure: it knows no message, no database and no exchange rate.

mod amount;
mod currency;
mod iso4217;

pub use amount::{AmountNotPositive, Money, MoneyError, MoneyParseError, PositiveMoney};
pub use currency::{Currency, CurrencyUnknown};
