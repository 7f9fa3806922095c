//! What a user is known by: an e-mail address and a name to show.

use std::fmt;

use thiserror::Error;

/// The longest e-mail address, in bytes.
const EMAIL_MAX_LEN: usize = 254;

/// The longest display name, in characters.
const DISPLAY_NAME_MAX_CHARS: usize = 100;

/// Why a user cannot be registered or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UserError {
    /// The text is no e-mail address.
    #[error("not an e-mail address")]
    EmailInvalid,
    /// The display name is blank, too long, or has characters that do not show.
    #[error("a display name needs 1 to 100 characters that can be shown")]
    DisplayNameInvalid,
    /// Somebody registered the e-mail address before.
    #[error("a user with this e-mail address exists")]
    EmailTaken,
    /// No such user.
    #[error("no such user")]
    NotFound,
}

/// An e-mail address in the one form that is stored and compared: ASCII, in
/// lower case. Two spellings that differ in case only are one address.
///
/// `Debug` hides it: addresses are personal data and stay out of logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Normalises an address. The contract's bounds check its full form; this
    /// checks what storage and comparison rely on.
    ///
    /// # Errors
    /// [`UserError::EmailInvalid`] unless the text is 3 to 254 visible ASCII
    /// characters around exactly one `@`.
    pub fn parse(text: &str) -> Result<Self, UserError> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let parts = text.split_once('@');
        let whole = parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        });
        if text.len() <= EMAIL_MAX_LEN && visible && whole {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(UserError::EmailInvalid)
        }
    }

    /// The normalised address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EmailAddress(hidden)")
    }
}

/// The name a user chose to be shown, without blanks around it.
///
/// `Debug` hides it: names are personal data and stay out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Takes a name over.
    ///
    /// # Errors
    /// [`UserError::DisplayNameInvalid`] when nothing, more than 100
    /// characters, or a control character is left after trimming.
    pub fn parse(text: &str) -> Result<Self, UserError> {
        let name = text.trim();
        let fits = !name.is_empty()
            && name.chars().count() <= DISPLAY_NAME_MAX_CHARS
            && !name.chars().any(char::is_control);
        if fits {
            Ok(Self(name.to_owned()))
        } else {
            Err(UserError::DisplayNameInvalid)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DisplayName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DisplayName(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Spellings that differ in case are one address.
    #[test]
    fn case_does_not_tell_addresses_apart() {
        let upper = EmailAddress::parse("Ada@Example.COM").expect("valid");
        let lower = EmailAddress::parse("ada@example.com").expect("valid");
        assert_eq!(upper, lower);
        assert_eq!(upper.as_str(), "ada@example.com");
    }

    /// What is no address is refused, whatever is wrong with it.
    #[test]
    fn malformed_addresses_are_refused() {
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "", "@", "a@", "@b", "a", "a@b@c", " a@b", "a@b ", "a b@c", "a@b\n", "ä@b", &long,
        ] {
            assert_eq!(
                EmailAddress::parse(bad),
                Err(UserError::EmailInvalid),
                "{bad:?}"
            );
        }
    }

    /// Names lose the blanks around them and nothing else.
    #[test]
    fn display_names_are_trimmed_and_checked() {
        assert_eq!(
            DisplayName::parse("  Ada L. ").expect("valid").as_str(),
            "Ada L."
        );
        assert_eq!(
            DisplayName::parse("Łukasz 🚀").expect("valid").as_str(),
            "Łukasz 🚀"
        );
        for bad in ["", "   ", "a\u{0}b", "a\nb", &"x".repeat(101)] {
            assert_eq!(
                DisplayName::parse(bad),
                Err(UserError::DisplayNameInvalid),
                "{bad:?}"
            );
        }
    }

    /// Personal data does not reach a log by way of `Debug`.
    #[test]
    fn debug_hides_personal_data() {
        let email = EmailAddress::parse("ada@example.com").expect("valid");
        let name = DisplayName::parse("Ada").expect("valid");
        assert!(!format!("{email:?} {name:?}").to_lowercase().contains("ada"));
    }

    proptest! {
        /// Normalising is total, and a normal form is its own normal form.
        #[test]
        fn normalising_is_idempotent(text in "\\PC{0,40}") {
            if let Ok(email) = EmailAddress::parse(&text) {
                let again = EmailAddress::parse(email.as_str());
                prop_assert_eq!(again, Ok(email));
            }
        }
    }
}
