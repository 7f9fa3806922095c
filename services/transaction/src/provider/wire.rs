//! What the connectors share whose providers speak JSON over HTTP, are shown a key,
//! and sign their callbacks as the sandbox provider does: the client, and the sorting
//! of what comes back into what is certain and what is not.
//!
//! | what comes back                   | what it is                                   |
//! |-----------------------------------|----------------------------------------------|
//! | 200, 201 with a body we can read  | told                                         |
//! | 410                               | too late: by agreement it had no effect      |
//! | 401, 403, 429                     | turned away at the door: it was not looked at |
//! | 400, 422                          | rejected: the provider found it wrong        |
//! | 404, 409 with the provider's code | refused, by that code                        |
//! | no connection                     | unsent                                       |
//! | anything else, or nothing         | lost: it may have been done                  |
//!
//! What follows from each is the connector's to say.

mod movement;
mod outcome;
mod signature;

use std::time::Duration;

use anyhow::Context as _;
use axum::http::HeaderMap;
use bursar_server::canary;
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Callback, CallbackRefused, Sign};
use crate::domain::Terms;

pub(super) use movement::MovementForm;
pub(super) use outcome::{Found, Lost, REJECTED, Refused, Sent};

use outcome::sign_of;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Where a provider is and what was agreed with it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Its address.
    pub(crate) url: Url,
    /// What we show to be served.
    pub(crate) api_key: SecretString,
    /// The secret of its callbacks' signatures.
    pub(crate) callback_secret: SecretString,
    /// How long it may take to act.
    pub(crate) deadline: Duration,
    /// What was agreed with it.
    pub(crate) terms: Terms,
}

/// The client.
pub(super) struct Wire {
    client: reqwest::Client,
    access: Access,
}

/// An error as it is told.
#[derive(Deserialize)]
struct ErrorForm {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
}

/// A callback as it is sent.
#[derive(Deserialize)]
struct CallbackForm {
    callback_id: String,
    #[serde(rename = "type")]
    kind: String,
    reference: String,
}

impl Wire {
    pub(super) fn new(access: Access) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        // The system's certificates are asked for only where there is TLS.
        let builder = match access.url.scheme() {
            "https" => builder.https_only(true),
            _ => builder.tls_certs_only(std::iter::empty()),
        };
        let client = builder.build().context("the client of a provider")?;
        Ok(Self { client, access })
    }

    /// What was agreed with the provider.
    pub(super) fn terms(&self) -> Terms {
        self.access.terms
    }

    /// How long it may take to act.
    pub(super) fn deadline(&self) -> Duration {
        self.access.deadline
    }

    /// Asks the provider to do something, once. `silence` is what it shows when nothing
    /// comes in time.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &impl Serialize,
        timeout: Duration,
        silence: Sign,
    ) -> Sent<T> {
        let request = self.client.post(self.address(path)).json(form);
        let response = match self.with_key(request, timeout).send().await {
            Ok(response) => response,
            Err(error) => return unanswered(&error, silence),
        };
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => match read(response).await {
                Some(told) => Sent::Told(told),
                None => Sent::Lost(Lost::unreadable(silence)),
            },
            StatusCode::GONE => Sent::Late,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                tracing::error!(status = %response.status(), "the provider turns us away");
                Sent::TurnedAway
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Sent::Rejected,
            status @ (StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {
                match read::<ErrorForm>(response).await {
                    Some(form) => {
                        let code = form.error.code;
                        Sent::Refused(Refused { code, status })
                    }
                    None => Sent::Lost(Lost::status(status)),
                }
            }
            other => Sent::Lost(Lost::status(other)),
        }
    }

    /// Asks the provider how something stands. `silence` is as with [`Wire::send`].
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        timeout: Duration,
        silence: Sign,
    ) -> Found<T> {
        let request = self.client.get(self.address(path));
        let response = match self.with_key(request, timeout).send().await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(%error, "the provider does not say what it did");
                return Found::Unanswered(sign_of_error(&error, silence));
            }
        };
        match response.status() {
            StatusCode::OK => match read(response).await {
                Some(told) => Found::Told(told),
                None => Found::Unanswered(silence),
            },
            // Only the provider's own word counts, not that of something in between.
            StatusCode::NOT_FOUND => match read::<ErrorForm>(response).await {
                Some(form) if form.error.code == "not_found" => Found::Absent,
                Some(_) | None => Found::Unanswered(Sign::Nothing),
            },
            other => {
                tracing::warn!(status = %other, "the provider does not say what it did");
                Found::Unanswered(sign_of(other))
            }
        }
    }

    /// Reads a callback after checking its signature.
    pub(super) fn read_callback(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused> {
        let given = headers
            .get(signature::HEADER)
            .and_then(|value| value.to_str().ok())
            .ok_or(CallbackRefused::Signature)?;
        let secret = self.access.callback_secret.expose_secret();
        let is_right = signature::is_right(secret, given, body, now);
        if !is_right && !canary!("callback.signature_ignored") {
            return Err(CallbackRefused::Signature);
        }
        let form: CallbackForm = serde_json::from_slice(body).map_err(|_| CallbackRefused::Body)?;
        let fits = (1..=128).contains(&form.callback_id.len())
            && form.kind.len() <= 64
            && form.reference.len() <= 128;
        if !fits {
            return Err(CallbackRefused::Body);
        }
        Ok(Callback {
            id: form.callback_id,
            kind: form.kind,
            reference: form.reference,
        })
    }

    fn address(&self, path: &str) -> String {
        let base = self.access.url.as_str().trim_end_matches('/');
        format!("{base}/{path}")
    }

    fn with_key(&self, request: RequestBuilder, timeout: Duration) -> RequestBuilder {
        request
            .bearer_auth(self.access.api_key.expose_secret())
            .timeout(timeout)
    }
}

/// Why there is no answer: nothing was sent when there was no connection;
/// everything else may have arrived. `silence` is what a timeout shows.
fn unanswered<T>(error: &reqwest::Error, silence: Sign) -> Sent<T> {
    tracing::warn!(%error, "the provider has not answered");
    let sign = sign_of_error(error, silence);
    let cause = if error.is_connect() {
        return Sent::NoConnection(sign);
    } else if error.is_timeout() {
        "timeout"
    } else {
        "connection lost"
    };
    Sent::Lost(Lost::seen(cause, sign))
}

/// What a missing answer shows.
fn sign_of_error(error: &reqwest::Error, silence: Sign) -> Sign {
    if error.is_timeout() && !error.is_connect() {
        silence
    } else {
        Sign::Failing
    }
}

/// Reads a bounded JSON body.
async fn read<T: DeserializeOwned>(mut response: Response) -> Option<T> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}
