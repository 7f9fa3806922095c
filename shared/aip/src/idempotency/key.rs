//! The key that a caller chooses.

use std::fmt;
use std::str::FromStr;

use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use tonic::{Code, Status};

/// The metadata key and HTTP header that carries an idempotency key.
pub const HEADER: &str = "idempotency-key";

/// The longest key, in characters.
const MAX_LEN: usize = 128;

/// An idempotency key: 1 to 128 visible ASCII characters, no space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// Reads a key.
    pub fn parse(text: &str) -> Result<Self, KeyInvalid> {
        let fits =
            (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(KeyInvalid)
        }
    }

    /// The key as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Key {
    type Err = KeyInvalid;

    fn from_str(text: &str) -> Result<Self, KeyInvalid> {
        Self::parse(text)
    }
}

/// The text is no idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 128 visible ASCII characters")]
pub struct KeyInvalid;

impl From<KeyInvalid> for Status {
    fn from(error: KeyInvalid) -> Self {
        StatusBuilder::new(
            Code::InvalidArgument,
            ErrorReason::IdempotencyKeyInvalid,
            error.to_string(),
        )
        .into()
    }
}

#[cfg(test)]
mod tests {
    use bursar_status::StatusExt;
    use proptest::prelude::*;

    use super::*;

    /// Spaces, control characters, other alphabets and wrong lengths are no key.
    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            " ",
            "a b",
            "a\tb",
            "a\n",
            "a\u{7f}",
            "ключ",
            &"k".repeat(129),
        ] {
            assert_eq!(Key::parse(text), Err(KeyInvalid), "{text:?}");
        }
    }

    /// A bad key answers with its own reason.
    #[test]
    fn a_bad_key_is_an_invalid_argument() {
        let status = Status::from(KeyInvalid);
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(
            details.error_info().expect("set").reason,
            "IDEMPOTENCY_KEY_INVALID"
        );
    }

    proptest! {
        /// Every visible ASCII text of a fitting length is a key, kept as it is.
        #[test]
        fn what_fits_is_kept(text in "[!-~]{1,128}") {
            let key = Key::parse(&text).expect("fits");
            prop_assert_eq!(key.as_str(), &text);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }
    }
}
