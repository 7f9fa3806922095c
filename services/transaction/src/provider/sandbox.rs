//! The `sandbox` provider over HTTP.

mod signature;

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::http::HeaderMap;
use bursar_money::{Currency, Money};
use bursar_server::canary;
use reqwest::{Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Callback, CallbackRefused, Direction, Heard, Order, PaymentProvider, Sign};
use crate::domain::{Answer, Asked, Looked, Terms};

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// The decline code of a request that the provider found wrong.
const REJECTED: &str = "request_rejected";

/// The codes by which the provider refuses a refund for good.
const REFUND_REFUSALS: [&str; 4] = [
    "charge_not_found",
    "not_refundable",
    "refund_exceeds_charge",
    "currency_mismatch",
];

/// Where the provider is and what was agreed with it.
#[derive(Clone, Debug)]
pub(crate) struct SandboxSettings {
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
pub(crate) struct Sandbox {
    client: reqwest::Client,
    settings: SandboxSettings,
}

/// A charge, payout or refund as it is asked for.
#[derive(Serialize)]
struct CreateForm<'a> {
    reference: &'a str,
    /// The charge that a refund gives back.
    #[serde(skip_serializing_if = "Option::is_none")]
    charge_reference: Option<String>,
    amount_minor: i64,
    currency: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    valid_until: OffsetDateTime,
}

/// A charge, payout or refund as it is told.
#[derive(Deserialize)]
struct MovementForm {
    id: String,
    reference: String,
    amount_minor: i64,
    currency: String,
    status: String,
    decline_code: Option<String>,
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

impl Sandbox {
    pub(crate) fn new(settings: SandboxSettings) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        // The system's certificates are asked for only where there is TLS.
        let builder = match settings.url.scheme() {
            "https" => builder.https_only(true),
            _ => builder.tls_certs_only(std::iter::empty()),
        };
        let client = builder
            .build()
            .context("the client of the sandbox provider")?;
        Ok(Self { client, settings })
    }

    fn address(&self, direction: Direction) -> String {
        let base = self.settings.url.as_str().trim_end_matches('/');
        match direction {
            Direction::Charge => format!("{base}/v1/charges"),
            Direction::Payout => format!("{base}/v1/payouts"),
            Direction::Refund => format!("{base}/v1/refunds"),
        }
    }
}

#[async_trait]
impl PaymentProvider for Sandbox {
    fn terms(&self) -> Terms {
        self.settings.terms
    }

    fn deadline(&self) -> Duration {
        self.settings.deadline
    }

    async fn act(&self, order: &Order, timeout: Duration) -> Heard<Asked> {
        let reference = order.reference.to_string();
        let form = CreateForm {
            reference: &reference,
            charge_reference: order.original.map(|original| original.to_string()),
            amount_minor: order.amount.minor(),
            currency: order.amount.currency().code(),
            valid_until: order.valid_until,
        };
        let sent = self
            .client
            .post(self.address(order.direction))
            .bearer_auth(self.settings.api_key.expose_secret())
            .json(&form)
            .timeout(timeout)
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return unanswered(&error, self.silence(timeout)),
        };
        let (outcome, sign) = match response.status() {
            StatusCode::OK | StatusCode::CREATED => match answer(order, response).await {
                Some(answer) => (Asked::Answered(answer), Sign::Well),
                None => (lost("an answer that cannot be read"), self.silence(timeout)),
            },
            // Came too late: by agreement it had no effect.
            StatusCode::GONE => (Asked::NotSent, Sign::Well),
            // Turned away at the door: the request was not looked at.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                tracing::error!(status = %response.status(), "the provider turns us away");
                (Asked::NotSent, Sign::Nothing)
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                let declined = Answer::Declined {
                    reference: None,
                    decline_code: REJECTED.to_owned(),
                };
                (Asked::Answered(declined), Sign::Well)
            }
            other @ (StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {
                match read::<ErrorForm>(response).await {
                    Some(form) if REFUND_REFUSALS.contains(&&*form.error.code) => {
                        let declined = Answer::Declined {
                            reference: None,
                            decline_code: form.error.code,
                        };
                        (Asked::Answered(declined), Sign::Well)
                    }
                    Some(_) | None => (lost(&format!("http {}", other.as_u16())), sign_of(other)),
                }
            }
            other => (lost(&format!("http {}", other.as_u16())), sign_of(other)),
        };
        Heard { outcome, sign }
    }

    async fn look(&self, order: &Order, timeout: Duration) -> Heard<Looked> {
        let address = format!("{}/{}", self.address(order.direction), order.reference);
        let sent = self
            .client
            .get(address)
            .bearer_auth(self.settings.api_key.expose_secret())
            .timeout(timeout)
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(%error, "the provider does not say what it did");
                return Heard {
                    outcome: Looked::Unanswered,
                    sign: sign_of_error(&error, self.silence(timeout)),
                };
            }
        };
        let (outcome, sign) = match response.status() {
            StatusCode::OK => match answer(order, response).await {
                Some(answer) => (Looked::Found(answer), Sign::Well),
                None => (Looked::Unanswered, self.silence(timeout)),
            },
            // Only the provider's own word counts, not that of something in between.
            StatusCode::NOT_FOUND => match read::<ErrorForm>(response).await {
                Some(form) if form.error.code == "not_found" => (Looked::NotFound, Sign::Well),
                Some(_) | None => (Looked::Unanswered, Sign::Nothing),
            },
            other => {
                tracing::warn!(status = %other, "the provider does not say what it did");
                (Looked::Unanswered, sign_of(other))
            }
        };
        Heard { outcome, sign }
    }

    fn read_callback(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused> {
        let given = headers
            .get(signature::HEADER)
            .and_then(|value| value.to_str().ok())
            .ok_or(CallbackRefused::Signature)?;
        let secret = self.settings.callback_secret.expose_secret();
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
}

/// Why there is no answer: nothing was sent when there was no connection;
/// everything else may have arrived. `silence` is what a timeout shows.
fn unanswered(error: &reqwest::Error, silence: Sign) -> Heard<Asked> {
    tracing::warn!(%error, "the provider has not answered");
    let outcome = if error.is_connect() {
        Asked::NotSent
    } else if error.is_timeout() {
        lost("timeout")
    } else {
        lost("connection lost")
    };
    Heard {
        outcome,
        sign: sign_of_error(error, silence),
    }
}

/// What a missing answer shows.
fn sign_of_error(error: &reqwest::Error, silence: Sign) -> Sign {
    if error.is_timeout() && !error.is_connect() {
        silence
    } else {
        Sign::Failing
    }
}

/// What an answer shows that is none of those that are documented.
fn sign_of(status: StatusCode) -> Sign {
    if status.is_server_error() {
        Sign::Failing
    } else {
        Sign::Nothing
    }
}

fn lost(cause: &str) -> Asked {
    if canary!("provider.silence_is_failure") {
        return Asked::Answered(Answer::Declined {
            reference: None,
            decline_code: cause.to_owned(),
        });
    }
    Asked::Lost {
        cause: cause.to_owned(),
    }
}

/// Reads a bounded JSON body.
async fn read<T: for<'de> Deserialize<'de>>(mut response: Response) -> Option<T> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}

/// The answer to an order; `None` when it cannot be read or is about something
/// else.
async fn answer(order: &Order, response: Response) -> Option<Answer> {
    let form: MovementForm = read(response).await?;
    if form.reference != order.reference.to_string() {
        return None;
    }
    let reference = form.id;
    match form.status.as_str() {
        "pending" => Some(Answer::Accepted { reference }),
        "succeeded" => Some(Answer::Succeeded {
            reference,
            amount: Money::new(Currency::parse(&form.currency).ok()?, form.amount_minor),
        }),
        "declined" => Some(Answer::Declined {
            reference: Some(reference),
            decline_code: form.decline_code.unwrap_or_default(),
        }),
        _ => None,
    }
}
