//! What the providers' clients share: what a missing answer means for an account, and
//! what can be one.

use bursar_outbound::Failure;

use super::{OpenedAccount, ProviderError};

/// The longest parts of an account, in bytes. An account number is an IBAN at most.
const MAX_NUMBER: usize = 34;
const MAX_NAME: usize = 200;
const MAX_BANK_CODE: usize = 32;

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        if failure.is_unsent() {
            unavailable(failure.to_string())
        } else {
            unknown(failure.to_string())
        }
    }
}

/// Nothing was sent, or it was turned away unread.
pub(super) fn unavailable(cause: impl Into<String>) -> ProviderError {
    ProviderError::Unavailable {
        cause: cause.into(),
    }
}

/// It may have arrived.
pub(super) fn unknown(cause: impl Into<String>) -> ProviderError {
    ProviderError::Unknown {
        cause: cause.into(),
    }
}

/// An account as a provider tells it, unless no account can be like that.
pub(super) fn plausible(account: OpenedAccount) -> Option<OpenedAccount> {
    let number = account.number.as_bytes();
    let is_number =
        (4..=MAX_NUMBER).contains(&number.len()) && number.iter().all(u8::is_ascii_alphanumeric);
    let is_text = |text: &str, max: usize| text.len() <= max && !text.contains('\0');
    let fits = is_number
        && is_text(&account.name, MAX_NAME)
        && is_text(&account.bank_name, MAX_NAME)
        && is_text(&account.bank_code, MAX_BANK_CODE);
    fits.then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: &str, name: &str) -> OpenedAccount {
        OpenedAccount {
            number: number.to_owned(),
            name: name.to_owned(),
            bank_name: "Bank".to_owned(),
            bank_code: String::new(),
        }
    }

    /// What cannot be an account is not taken for one.
    #[test]
    fn implausible_accounts_are_refused() {
        assert!(plausible(account("9012345678", "ADA OBI")).is_some());
        for number in ["", "123", "90 12345678", "9012345678;--", &"9".repeat(35)] {
            assert!(plausible(account(number, "ADA")).is_none(), "{number}");
        }
        assert!(plausible(account("9012345678", &"A".repeat(201))).is_none());
        assert!(plausible(account("9012345678", "A\0")).is_none());
    }
}
