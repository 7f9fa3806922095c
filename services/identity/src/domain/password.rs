//! Which passwords a user may choose.
//!
//! Length is what makes a password strong, so the contract bounds it (8 to 128
//! characters) and no composition rules are added. Refused on top are the
//! guesses that come first: the address itself and blanks.

use thiserror::Error;

use crate::domain::user::EmailAddress;

/// The fewest characters of a password.
pub const MIN_CHARS: usize = 8;

/// The most characters of a password.
pub const MAX_CHARS: usize = 128;

/// Why a password is refused, as a new one or as proof of who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// It is shorter or longer than allowed.
    #[error("a password needs 8 to 128 characters")]
    Length,
    /// It is the user's e-mail address, or the part before the `@`.
    #[error("the password must not be the e-mail address")]
    IsEmail,
    /// It has nothing but blanks.
    #[error("the password must not be blank")]
    Blank,
    /// It is not the user's, or there is no such user; which is not told.
    #[error("the e-mail address or the password is wrong")]
    Wrong,
}

/// Checks a new password of the user with this address.
///
/// # Errors
/// The first rule that the password breaks.
pub fn check(password: &str, email: &EmailAddress) -> Result<(), PasswordError> {
    let chars = password.chars().count();
    if !(MIN_CHARS..=MAX_CHARS).contains(&chars) {
        return Err(PasswordError::Length);
    }
    if password.chars().all(char::is_whitespace) {
        return Err(PasswordError::Blank);
    }
    let address = email.as_str();
    let local = address.split_once('@').map_or(address, |(local, _)| local);
    if password.eq_ignore_ascii_case(address) || password.eq_ignore_ascii_case(local) {
        return Err(PasswordError::IsEmail);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every rule refuses, and an ordinary pass phrase passes.
    #[test]
    fn each_rule_is_told_apart() {
        let email = EmailAddress::parse("ada.lovelace@example.com").expect("valid");
        assert_eq!(check("correct horse", &email), Ok(()));
        assert_eq!(check("пароль-с-солью", &email), Ok(()));
        assert_eq!(check("short", &email), Err(PasswordError::Length));
        assert_eq!(check(&"x".repeat(129), &email), Err(PasswordError::Length));
        assert_eq!(check("          ", &email), Err(PasswordError::Blank));
        assert_eq!(
            check("Ada.Lovelace@Example.com", &email),
            Err(PasswordError::IsEmail)
        );
        assert_eq!(check("ADA.LOVELACE", &email), Err(PasswordError::IsEmail));
    }
}
