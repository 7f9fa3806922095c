//! What a card acquirer charges: its token for a card.
//!
//! A token is not a card's number, but who has it and our key can charge the card. So
//! it is shown to nobody, cannot be printed, and is kept only until the provider has
//! been asked.

use secrecy::{ExposeSecret, SecretString};

/// The longest token, in characters.
const LONGEST: usize = 128;

/// The token.
#[derive(Clone, Debug)]
pub(crate) struct PaymentMethod(SecretString);

impl PaymentMethod {
    /// The token that a caller gives: a word, `_`, and the acquirer's name for the card.
    /// `None` for anything else, a card's number above all.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, name) = text.split_once('_')?;
        let fits = text.len() <= LONGEST
            && word.starts_with(|first: char| first.is_ascii_alphabetic())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        fits.then(|| Self(text.into()))
    }

    /// The token as it was kept.
    pub(crate) fn kept(text: String) -> Self {
        Self(text.into())
    }

    /// The token as text, for the provider and for the database.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens are taken and card numbers are not, and what is taken cannot be printed.
    #[test]
    fn a_number_is_no_token() {
        let long = format!("tok_{}", "a".repeat(124));
        for token in ["tok_visa", "tok_0f8e-77", "pm_1_2", &long] {
            let parsed = PaymentMethod::parse(token).expect("a token");
            assert_eq!(parsed.expose(), token);
            assert!(!format!("{parsed:?}").contains(token), "{parsed:?}");
        }
        let too_long = format!("tok_{}", "a".repeat(125));
        let number = "4242424242424242";
        for other in [
            "",
            "tok_",
            "_a",
            number,
            "4242_4242",
            "tok visa",
            "tok_é",
            &too_long,
        ] {
            assert!(PaymentMethod::parse(other).is_none(), "{other}");
        }
    }
}
