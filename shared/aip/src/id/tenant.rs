//! The id of a tenant: a short name, not a UUID.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The longest tenant id, in characters.
const MAX_LEN: usize = 32;

/// The id of a tenant: 1 to 32 of `a-z 0-9 _ -`. The default is "default".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TenantId(Cow<'static, str>);

impl TenantId {
    /// Reads a tenant id.
    pub fn parse(text: &str) -> Result<Self, TenantIdError> {
        let fits = (1..=MAX_LEN).contains(&text.len())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if fits {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(TenantIdError)
        }
    }

    /// The id as the database and the tokens have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self(Cow::Borrowed("default"))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// The text is no tenant id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 32 characters of a-z, 0-9, `_` and `-`")]
pub struct TenantIdError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The default is a tenant id like any other.
    #[test]
    fn the_default_can_be_read() {
        assert_eq!("default".parse(), Ok(TenantId::default()));
    }

    /// What could widen a query or a log line is no tenant.
    #[test]
    fn other_texts_are_refused() {
        for text in ["", "Acme", "a b", "a.b", "ä", "a\n", "*", &"a".repeat(33)] {
            assert_eq!(TenantId::parse(text), Err(TenantIdError), "{text:?}");
            assert!(serde_json::from_value::<TenantId>(text.into()).is_err());
        }
    }

    proptest! {
        /// Every text of the alphabet and length is kept as it is, in JSON too.
        #[test]
        fn what_fits_is_kept(text in "[a-z0-9_-]{1,32}") {
            let tenant = TenantId::parse(&text).expect("fits");
            prop_assert_eq!(tenant.as_str(), &text);
            let json = serde_json::to_string(&tenant).expect("text is JSON");
            prop_assert_eq!(serde_json::from_str::<TenantId>(&json).expect("just written"), tenant);
        }
    }
}
