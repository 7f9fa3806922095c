//! Cards. A number is looked at and forgotten: what stays is a token
//! ([`crate::card_token`]), its last four digits and its brand.

use std::time::Duration;

use super::account::check_digit;
use super::{Fault, FaultKind, Surprise};

/// How long a card's surprise stays pending, and how late its slow answer comes.
const DELAY: Duration = Duration::from_secs(2);

/// A card as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    /// The provider's name for it.
    pub token: String,
    /// The last four digits.
    pub last4: String,
    /// Whose card it is, such as `visa`.
    pub brand: String,
    /// What it brings, if it is one of the test cards that bring something.
    pub behaviour: Option<Behaviour>,
}

/// A card number that is a possible one. It is not to be kept, so it can
/// neither be printed nor copied.
pub(crate) struct CardNumber(String);

/// What a test card brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    CardDeclined,
    InsufficientFunds,
    LostCard,
    StolenCard,
    ExpiredCard,
    IncorrectCvc,
    ProcessingError,
    Slow,
    LostResponse,
    Timeout,
    TimeoutThenSuccess,
    PendingThenSuccess,
    PendingThenFailure,
    Error500,
    NoAnswer,
}

impl Behaviour {
    /// The test cards: their numbers and what they bring.
    const CARDS: [(&'static str, Self); 15] = [
        ("4000000000000002", Self::CardDeclined),
        ("4000000000009995", Self::InsufficientFunds),
        ("4000000000009987", Self::LostCard),
        ("4000000000009979", Self::StolenCard),
        ("4000000000000069", Self::ExpiredCard),
        ("4000000000000127", Self::IncorrectCvc),
        ("4000000000000119", Self::ProcessingError),
        ("4000000000007015", Self::Slow),
        ("4000000000007023", Self::LostResponse),
        ("4000000000007031", Self::Timeout),
        ("4000000000007049", Self::TimeoutThenSuccess),
        ("4000000000007056", Self::PendingThenSuccess),
        ("4000000000007064", Self::PendingThenFailure),
        ("4000000000007072", Self::Error500),
        ("4000000000007080", Self::NoAnswer),
    ];

    /// The name in the database and in the name of the card's test token.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CardDeclined => "card_declined",
            Self::InsufficientFunds => "insufficient_funds",
            Self::LostCard => "lost_card",
            Self::StolenCard => "stolen_card",
            Self::ExpiredCard => "expired_card",
            Self::IncorrectCvc => "incorrect_cvc",
            Self::ProcessingError => "processing_error",
            Self::Slow => "slow",
            Self::LostResponse => "lost_response",
            Self::Timeout => "timeout",
            Self::TimeoutThenSuccess => "timeout_then_success",
            Self::PendingThenSuccess => "pending_then_success",
            Self::PendingThenFailure => "pending_then_failure",
            Self::Error500 => "error_500",
            Self::NoAnswer => "no_answer",
        }
    }

    /// The behaviour of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::CARDS
            .into_iter()
            .map(|(_, behaviour)| behaviour)
            .find(|behaviour| behaviour.name() == name)
    }

    /// What it does to an authorisation.
    pub(crate) fn surprise(self) -> Surprise {
        let declined = (FaultKind::Decline, Some(self.name()));
        let (kind, decline_code) = match self {
            Self::CardDeclined
            | Self::InsufficientFunds
            | Self::LostCard
            | Self::StolenCard
            | Self::ExpiredCard
            | Self::IncorrectCvc
            | Self::ProcessingError => declined,
            Self::Slow => (FaultKind::Slow, None),
            Self::LostResponse => (FaultKind::LostResponse, None),
            Self::Timeout | Self::TimeoutThenSuccess => (FaultKind::Timeout, None),
            Self::PendingThenSuccess => (FaultKind::Pending, None),
            Self::PendingThenFailure => (FaultKind::PendingDecline, Some("card_declined")),
            Self::Error500 => (FaultKind::Error500, None),
            Self::NoAnswer => (FaultKind::NoAnswer, None),
        };
        Surprise {
            fault: Fault {
                decline_code: decline_code.map(str::to_owned),
                delay: DELAY,
                ..Fault::of(kind)
            },
            only_once: self == Self::TimeoutThenSuccess,
        }
    }
}

impl CardNumber {
    /// Reads a number: 12 to 19 digits, the last of which checks the others.
    /// Spaces are allowed, as on the card.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|char| *char != ' ').collect();
        let fits = (12..=19).contains(&digits.len())
            && text.len() <= 32
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !fits {
            return None;
        }
        let values: Vec<u8> = digits.bytes().map(|byte| byte - b'0').collect();
        let (last, others) = values.split_last()?;
        (check_digit(others) == *last).then_some(Self(digits))
    }

    /// The number of a test token: `tok_visa`, `tok_mastercard`, `tok_amex`, and
    /// `tok_` with the name of a behaviour.
    pub(crate) fn of_test_token(token: &str) -> Option<Self> {
        let name = token.strip_prefix("tok_")?;
        let number = match name {
            "visa" => "4242424242424242",
            "mastercard" => "5555555555554444",
            "amex" => "378282246310005",
            _ => {
                let behaviour = Behaviour::parse(name)?;
                let is_it = |card: &&(&str, Behaviour)| card.1 == behaviour;
                Behaviour::CARDS.iter().find(is_it)?.0
            }
        };
        Self::parse(number)
    }

    /// The digits.
    pub(crate) fn digits(&self) -> &str {
        &self.0
    }

    /// What is kept of it, under a token.
    pub(crate) fn card(&self, token: String) -> Card {
        Card {
            token,
            last4: self.0[self.0.len() - 4..].to_owned(),
            brand: self.brand().to_owned(),
            behaviour: Behaviour::CARDS
                .into_iter()
                .find(|(number, _)| *number == self.0)
                .map(|(_, behaviour)| behaviour),
        }
    }

    fn brand(&self) -> &'static str {
        let starts = |prefixes: std::ops::RangeInclusive<u32>, digits: usize| {
            self.0[..digits]
                .parse()
                .is_ok_and(|start: u32| prefixes.contains(&start))
        };
        if starts(4..=4, 1) {
            "visa"
        } else if starts(51..=55, 2) || starts(2221..=2720, 4) {
            "mastercard"
        } else if starts(34..=34, 2) || starts(37..=37, 2) {
            "amex"
        } else {
            "unknown"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(text: &str) -> Option<Card> {
        CardNumber::parse(text).map(|number| number.card("tok_1".to_owned()))
    }

    /// Every test card is a possible number with a behaviour and a test token of
    /// its own.
    #[test]
    fn test_cards_can_be_used() {
        for (number, behaviour) in Behaviour::CARDS {
            let card = card(number).expect(number);
            assert_eq!(card.behaviour, Some(behaviour));
            assert_eq!(Behaviour::parse(behaviour.name()), Some(behaviour));
            let token = format!("tok_{}", behaviour.name());
            let named = CardNumber::of_test_token(&token).expect("a test token");
            assert_eq!(named.0, number);
        }
        for (token, brand) in [
            ("tok_visa", "visa"),
            ("tok_mastercard", "mastercard"),
            ("tok_amex", "amex"),
        ] {
            let number = CardNumber::of_test_token(token).expect(token);
            assert_eq!(number.brand(), brand);
            assert_eq!(card(&number.0).expect(token).behaviour, None);
        }
        assert!(CardNumber::of_test_token("tok_gold").is_none());
    }

    /// What is kept tells four digits and no more.
    #[test]
    fn numbers_are_not_kept() {
        let kept = card("4242 4242 4242 4242").expect("a number");
        assert_eq!(kept.last4, "4242");
        assert!(!format!("{kept:?}").contains("42424242"));
        assert_eq!(Some(&kept), card("4242424242424242").as_ref());
    }

    /// What cannot be a number is none.
    #[test]
    fn typing_errors_are_found() {
        for text in [
            "",
            "4242",
            "4242424242424241",
            "4242-4242-4242-4242",
            "x242424242424242",
        ] {
            assert!(CardNumber::parse(text).is_none(), "{text}");
        }
        assert!(CardNumber::parse(&"0".repeat(20)).is_none());
    }
}
