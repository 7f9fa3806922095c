//! Service accounts: how machines are named.

use std::fmt;

use thiserror::Error;

/// The longest client id, in characters.
const MAX_LEN: usize = 64;

/// Why a service account cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ServiceAccountError {
    /// The client id or the secret is wrong; which of them is not told.
    #[error("the client id or the client secret is wrong")]
    CredentialsInvalid,
    /// The text is no client id.
    #[error(
        "a client id starts with a letter and has up to 64 characters of a-z, 0-9, `_` and `-`"
    )]
    ClientIdInvalid,
}

/// The name of a service account, such as `transaction`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// Reads a client id.
    ///
    /// # Errors
    /// [`ServiceAccountError::ClientIdInvalid`] for any other form.
    pub fn parse(text: &str) -> Result<Self, ServiceAccountError> {
        let starts = text.starts_with(|first: char| first.is_ascii_lowercase());
        let fits = text.len() <= MAX_LEN
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if starts && fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ServiceAccountError::ClientIdInvalid)
        }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client ids are plain lower-case names.
    #[test]
    fn client_ids_are_names() {
        for good in ["wallet", "a", "ledger-2", "a_b"] {
            assert!(ClientId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "2nd", "Wallet", "a b", "ä", "-a", &"a".repeat(65)] {
            assert!(ClientId::parse(bad).is_err(), "{bad}");
        }
    }
}
