//! What calls to third parties over HTTP share: bounded clients and answers, the
//! sorting of failures into what was not sent and what may have arrived, and the
//! signed-in session of Xpress Wallet, which two services speak to.
//!
//! Failures are told in words of our own: those of the client name the address, and
//! with it what is looked up. What an answer means is its reader's to say.

pub mod xpress;

use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// There was no connection: nothing was sent.
    #[error("no connection")]
    NoConnection,
    /// We could not sign in, so the request proper was not sent.
    #[error("the sign-in is not answered")]
    SignInUnanswered,
    /// We were not let in, so the request proper was not sent.
    #[error("the sign-in: http {}", .0.as_u16())]
    SignInRefused(StatusCode),
    /// The sign-in went well and brought nothing to show, so the request proper was
    /// not sent.
    #[error("the sign-in brought no tokens")]
    SignInWithoutTokens,
    /// What we showed was refused, also when it was new: the request was not looked at.
    #[error("http 401")]
    TurnedAway,
    /// Nothing came in time: it may have arrived.
    #[error("timeout")]
    Timeout,
    /// The connection was lost: it may have arrived.
    #[error("the connection was lost")]
    ConnectionLost,
}

impl Failure {
    /// Why a request has no answer: nothing was sent when there was no connection;
    /// everything else may have arrived.
    pub fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            Self::NoConnection
        } else if error.is_timeout() {
            Self::Timeout
        } else {
            Self::ConnectionLost
        }
    }

    /// Whether it certainly had no effect.
    pub fn is_unsent(self) -> bool {
        match self {
            Self::NoConnection
            | Self::SignInUnanswered
            | Self::SignInRefused(_)
            | Self::SignInWithoutTokens
            | Self::TurnedAway => true,
            Self::Timeout | Self::ConnectionLost => false,
        }
    }
}

/// A client of one third party. Over TLS it trusts what the system trusts; the
/// system is asked only where there is TLS, so that a simulated one needs no
/// certificates.
///
/// # Errors
/// When the system has no certificates that could be trusted.
pub fn client(url: &Url, deadline: Duration) -> anyhow::Result<Client> {
    let builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(deadline)
        .redirect(Policy::none());
    let builder = match url.scheme() {
        "https" => builder.https_only(true),
        _ => builder.tls_certs_only(std::iter::empty()),
    };
    builder.build().context("the client of a third party")
}

/// Reads a bounded JSON body; `None` when it is none of that form.
pub async fn read<T: DeserializeOwned>(mut response: Response) -> Option<T> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}
