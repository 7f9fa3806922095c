//! The arithmetic of exchange, by example and by property.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn currency(code: &str) -> Currency {
    Currency::parse(code).expect("a currency")
}

fn rate(from: &str, to: &str, rate: &str, spread_basis_points: i32) -> ExchangeRate {
    ExchangeRate {
        id: ExchangeRateId::from_uuid(Uuid::from_u128(1)),
        from: currency(from),
        to: currency(to),
        rate: rate.parse().expect("a rate"),
        spread_basis_points,
        source: "ecb".to_owned(),
        observed_at: OffsetDateTime::UNIX_EPOCH,
    }
}

fn got(rate: &ExchangeRate, minor: i64) -> Result<i64, ConvertError> {
    rate.convert(minor)
        .map(|conversion| conversion.amount.minor())
}

/// Currencies without minor units and with a thousand of them are converted by
/// their units, and what is got is rounded down.
#[test]
fn minor_units_are_taken_into_account() {
    assert_eq!(got(&rate("EUR", "USD", "1.0834", 0), 10_000), Ok(10_834));
    assert_eq!(got(&rate("EUR", "USD", "1.0834", 0), 1), Ok(1));
    assert_eq!(got(&rate("EUR", "JPY", "161.25", 0), 100), Ok(161));
    assert_eq!(got(&rate("JPY", "EUR", "0.0062", 0), 161), Ok(99));
    assert_eq!(got(&rate("KWD", "JPY", "520.5", 0), 1_000), Ok(520));
    assert_eq!(got(&rate("JPY", "KWD", "0.00192", 0), 1_000), Ok(1_920));
}

/// The platform keeps its spread of what is got.
#[test]
fn the_spread_stays_with_the_platform() {
    assert_eq!(got(&rate("EUR", "USD", "2", 50), 10_000), Ok(19_900));
}

/// What would be nothing, and what the ledger cannot move, is not converted.
#[test]
fn amounts_have_to_stay_in_their_bounds() {
    let small = got(&rate("JPY", "EUR", "0.0062", 0), 1);
    assert_eq!(small, Err(ConvertError::TooSmall));
    for (rate, minor) in [
        (rate("EUR", "USD", "1.1", 0), MAX_AMOUNT_MINOR),
        (rate("JPY", "KWD", "999999999.999999999999", 0), i64::MAX),
    ] {
        assert_eq!(got(&rate, minor), Err(ConvertError::TooLarge));
    }
}

/// A rate counts up to its age, the last moment included.
#[test]
fn rates_grow_stale() {
    let rate = rate("EUR", "USD", "1.1", 0);
    let day = Duration::from_secs(86_400);
    assert!(!rate.is_stale(day, rate.observed_at + day));
    assert!(rate.is_stale(day, rate.observed_at + day + Duration::from_micros(1)));
}

/// Only plain decimal numbers above zero are rates.
#[test]
fn only_decimal_numbers_are_rates() {
    for text in [
        "",
        "0",
        "0.0",
        ".5",
        "5.",
        "-1",
        "+1",
        "1e3",
        "01",
        "1.0000000000001",
        "1234567890",
        "1,5",
        " 1",
        "1.2.3",
        "٣",
    ] {
        assert_eq!(text.parse::<Rate>(), Err(RateInvalid), "{text:?}");
    }
    for (text, written) in [
        ("1", "1"),
        ("1.50", "1.5"),
        ("0.000000000001", "0.000000000001"),
        ("999999999.999999999999", "999999999.999999999999"),
        ("10.010", "10.01"),
    ] {
        assert_eq!(
            text.parse::<Rate>().map(|rate| rate.to_string()),
            Ok(written.to_owned())
        );
    }
}

/// Any currency, and any rate that a text can hold.
fn a_rate() -> impl Strategy<Value = ExchangeRate> {
    let codes = || prop::sample::select(vec!["EUR", "USD", "JPY", "KWD", "HUF"]);
    let count = prop_oneof![1..ONE, ONE..1_000 * ONE, 1..1_000_000_000 * ONE];
    (codes(), codes(), count, 0..=5_000_i32).prop_map(|(from, to, count, spread)| ExchangeRate {
        rate: Rate(count),
        ..rate(from, to, "1", spread)
    })
}

proptest! {
    /// A rate is read back from its text.
    #[test]
    fn rates_survive_their_text(count in 1..1_000_000_000 * ONE) {
        let rate = Rate(count);
        prop_assert_eq!(rate.to_string().parse(), Ok(rate));
    }

    /// What is got is the exact product, rounded down by less than a minor unit.
    #[test]
    fn conversion_rounds_down_by_less_than_a_unit(
        rate in a_rate(),
        minor in 1..1_000_000_000_i64,
    ) {
        let exact = i128::from(minor)
            * rate.rate.0
            * (WHOLE_BASIS_POINTS - i128::from(rate.spread_basis_points))
            * scale(rate.to);
        let whole = ONE * WHOLE_BASIS_POINTS * scale(rate.from);
        match got(&rate, minor) {
            Ok(got) => {
                let rest = exact - i128::from(got) * whole;
                prop_assert!((0..whole).contains(&rest));
            }
            Err(ConvertError::TooSmall) => prop_assert!(exact < whole),
            Err(ConvertError::TooLarge) => {
                prop_assert!(exact / whole > i128::from(MAX_AMOUNT_MINOR));
            }
        }
    }

    /// Money that goes there at a rate and back at its inverse never grows.
    #[test]
    fn there_and_back_never_grows(count in 1_000..1_000_000_000_000_000_i128, minor in 1..1_000_000_000_i64) {
        let there = ExchangeRate { rate: Rate(count), ..rate("EUR", "USD", "1", 0) };
        let back = ExchangeRate { rate: Rate(ONE * ONE / count), ..rate("USD", "EUR", "1", 0) };
        if let Ok(got_there) = got(&there, minor)
            && let Ok(got_back) = got(&back, got_there)
        {
            prop_assert!(got_back <= minor);
        }
    }
}
