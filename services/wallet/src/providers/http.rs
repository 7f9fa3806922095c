//! What the providers' clients share: connections, bounded answers, and the
//! sorting of failures into what was not sent and what may have arrived.
//!
//! Failures are told in words of our own: those of the client name the address,
//! and with it what is looked up.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde::de::DeserializeOwned;

use super::{OpenedAccount, ProviderError};

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// The longest parts of an account, in bytes. An account number is an IBAN at most.
const MAX_NUMBER: usize = 34;
const MAX_NAME: usize = 200;
const MAX_BANK_CODE: usize = 32;

/// A client of one provider. Over TLS it trusts what the system trusts; the
/// system is asked only where there is TLS, so that a simulated provider needs
/// no certificates.
pub(super) fn client(url: &Url, deadline: Duration) -> anyhow::Result<Client> {
    let builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(deadline)
        .redirect(Policy::none());
    let builder = match url.scheme() {
        "https" => builder.https_only(true),
        _ => builder.tls_certs_only(std::iter::empty()),
    };
    builder
        .build()
        .context("the client of the account provider")
}

/// Why there is no answer: nothing was sent when there was no connection;
/// everything else may have arrived.
pub(super) fn unanswered(error: &reqwest::Error) -> ProviderError {
    if error.is_connect() {
        unavailable("no connection")
    } else if error.is_timeout() {
        unknown("timeout")
    } else {
        unknown("the connection was lost")
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

/// Reads a bounded JSON body; `None` when it is none of that form.
pub(super) async fn read<T: DeserializeOwned>(mut response: Response) -> Option<T> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
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
