//! Account numbers.

use time::OffsetDateTime;
use uuid::{Uuid, uuid};

use super::RequestInvalid;
use super::movement::{is_currency, is_reference};

/// The longest name of a holder, in characters.
const MAX_HOLDER_LEN: usize = 201;
/// The namespace in which references become numbers.
const NUMBERS: Uuid = uuid!("2c0be0a5-8f0e-4d0c-9a57-0d7f5d1f9b1e");
/// How many numbers a reference may try: two references may come to the same.
const CANDIDATES: u8 = 8;

/// An account that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewAccount {
    /// The customer's name for it.
    pub reference: String,
    /// The ISO 4217 code.
    pub currency: String,
    /// Who holds it.
    pub holder_name: String,
}

/// What became of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It is open under this number.
    Open(String),
    /// It was refused, with this code.
    Declined(String),
}

/// An account as it is in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The provider's name for it.
    pub id: Uuid,
    /// What was asked for.
    pub asked: NewAccount,
    /// What became of it.
    pub opening: Opening,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
}

impl NewAccount {
    /// Refuses what is out of bounds.
    pub(crate) fn validate(&self) -> Result<(), RequestInvalid> {
        if !is_reference(&self.reference) {
            return Err(RequestInvalid::Reference);
        }
        if !is_currency(&self.currency) {
            return Err(RequestInvalid::Currency);
        }
        let len = self.holder_name.chars().count();
        if !(1..=MAX_HOLDER_LEN).contains(&len) || self.holder_name.contains('\0') {
            return Err(RequestInvalid::HolderName);
        }
        Ok(())
    }

    /// The numbers that it may get, in the order in which they are tried: always
    /// the same ones for a reference.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = String> {
        (0..CANDIDATES).map(|attempt| {
            let name = format!("{}/{attempt}", self.reference);
            let hash = Uuid::new_v5(&NUMBERS, name.as_bytes()).into_bytes();
            let mut digits = vec![9];
            // Eight bytes in which there is neither version nor variant.
            digits.extend(hash[9..].iter().chain(&hash[..1]).map(|byte| byte % 10));
            digits.push(check_digit(&digits));
            digits
                .into_iter()
                .map(|digit| char::from(b'0' + digit))
                .collect()
        })
    }
}

/// The digit by which a typing error is found: Luhn's.
pub(super) fn check_digit(digits: &[u8]) -> u8 {
    let sum: u8 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, doubled) if doubled > 9 => doubled - 9,
            (0, doubled) => doubled,
            _ => *digit,
        })
        .sum();
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(reference: &str) -> NewAccount {
        NewAccount {
            reference: reference.to_owned(),
            currency: "EUR".to_owned(),
            holder_name: "Ada Obi".to_owned(),
        }
    }

    /// The check digit is the one of the published example 7992739871-3.
    #[test]
    fn check_digits_are_luhns() {
        assert_eq!(check_digit(&[7, 9, 9, 2, 7, 3, 9, 8, 7, 1]), 3);
        assert_eq!(check_digit(&[0, 0]), 0);
    }

    /// A reference always gets the same numbers, all different, of ten digits.
    #[test]
    fn numbers_follow_from_the_reference() {
        let numbers: Vec<String> = asked("r1").numbers().collect();
        assert_eq!(numbers, asked("r1").numbers().collect::<Vec<_>>());
        let mut distinct = numbers.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), numbers.len());
        for number in &numbers {
            assert_eq!(number.len(), 10);
            assert!(number.bytes().all(|byte| byte.is_ascii_digit()));
        }
        assert_ne!(numbers[0], asked("r2").numbers().next().expect("one"));
    }

    /// What is out of bounds is refused by its name.
    #[test]
    fn bounds_are_kept() {
        assert_eq!(asked("r1").validate(), Ok(()));
        assert_eq!(asked("").validate(), Err(RequestInvalid::Reference));
        let mut other = asked("r1");
        other.currency = "EURO".to_owned();
        assert_eq!(other.validate(), Err(RequestInvalid::Currency));
        for name in ["", "a\0b", &"x".repeat(202)] {
            let mut other = asked("r1");
            other.holder_name = name.to_owned();
            assert_eq!(other.validate(), Err(RequestInvalid::HolderName));
        }
    }
}
