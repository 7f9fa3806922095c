//! Between kobo and naira, exactly: the provider's amounts are decimal numbers of
//! naira, and no number of ours is ever anything but whole kobo. An amount that is
//! no whole number of kobo is none of ours, and none that could be rounded.

use serde_json::value::RawValue;

/// Kobo in a naira.
const KOBO: i64 = 100;
/// The digits of a number of kobo behind the point.
const PLACES: usize = 2;

/// Kobo as the JSON number of naira: without a point where it needs none.
pub(super) fn of_minor(kobo: u64) -> Box<RawValue> {
    let (naira, rest) = (kobo / KOBO.unsigned_abs(), kobo % KOBO.unsigned_abs());
    let text = match rest {
        0 => naira.to_string(),
        rest => format!("{naira}.{rest:02}"),
    };
    RawValue::from_string(text).expect("digits with a point between them are a JSON number")
}

/// A JSON number of naira, or a text of one, as kobo; `None` when it is none, has more
/// than whole kobo, or is too large.
pub(super) fn to_minor(number: &RawValue) -> Option<i64> {
    let text = number.get();
    let text = match text.strip_prefix('"') {
        Some(text) => text.strip_suffix('"')?,
        None => text,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || (text.contains('.') && !is_number(fraction)) {
        return None;
    }
    let (kobo, finer) = fraction.split_at(fraction.len().min(PLACES));
    if finer.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let kobo: i64 = format!("{kobo:0<PLACES$}").parse().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(KOBO)?
        .checked_add(kobo)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<i64> {
        let raw = RawValue::from_string(text.to_owned()).expect("JSON");
        to_minor(&raw)
    }

    proptest! {
        /// Every amount comes back as it was, however large.
        #[test]
        fn amounts_come_back(kobo in 1..=i64::MAX) {
            let written = of_minor(kobo.unsigned_abs());
            prop_assert_eq!(to_minor(&written), Some(kobo));
        }

        /// What is written is the amount: its digits, with the point two places before
        /// the end.
        #[test]
        fn amounts_are_written_in_naira(naira in 0..=92_233_720_368_547_757_u64, kobo in 0..100_u64) {
            let written = of_minor(naira * 100 + kobo);
            let expected = if kobo == 0 { format!("{naira}") } else { format!("{naira}.{kobo:02}") };
            prop_assert_eq!(written.get(), expected);
        }

        /// Nothing finer than a kobo is taken for an amount.
        #[test]
        fn nothing_is_rounded(naira in 0..1_000_000_u32, kobo in 0..100_u32, finer in 1..1000_u32) {
            let text = format!("{naira}.{kobo:02}{finer:03}");
            prop_assert_eq!(read(&text), None);
        }
    }

    /// The forms that a number of naira may have, and those that it may not.
    #[test]
    fn forms_of_numbers() {
        for (text, kobo) in [
            ("100", Some(10_000)),
            ("10.5", Some(1_050)),
            ("10.50", Some(1_050)),
            ("10.5000", Some(1_050)),
            ("0.01", Some(1)),
            ("\"100.25\"", Some(10_025)),
            ("92233720368547758.07", Some(i64::MAX)),
            ("92233720368547758.08", None),
            ("10.505", None),
            ("-10", None),
            ("1e2", None),
            ("\"\"", None),
            ("\"10.\"", None),
            ("\".5\"", None),
            ("null", None),
            ("{}", None),
        ] {
            assert_eq!(read(text), kobo, "{text}");
        }
    }
}
