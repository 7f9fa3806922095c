//! A careful REST client: repeats what was not answered, with the same key.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

/// How long one call may take in all, repeats included: longer than any process
/// of the mesh takes to come back.
const PATIENCE: Duration = Duration::from_secs(60);
const REPEAT_INTERVAL: Duration = Duration::from_millis(250);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// The gateway's REST interface.
pub(super) struct Rest {
    client: reqwest::Client,
    gateway: String,
}

/// One call.
pub(super) struct Call {
    method: Method,
    path: String,
    token: Option<String>,
    key: Option<String>,
    body: Option<Value>,
}

/// What was answered.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// Whether it is the answer of an earlier call with the same key.
    pub(super) replayed: bool,
    /// The body; null when there is none.
    pub(super) body: Value,
}

impl Call {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            token: None,
            key: None,
            body: None,
        }
    }

    /// A call that changes something, under a fresh idempotency key.
    pub(super) fn post(path: impl Into<String>, body: Value) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            token: None,
            key: Some(Uuid::now_v7().to_string()),
            body: Some(body),
        }
    }

    /// Login and the like take no idempotency key.
    pub(super) fn without_key(mut self) -> Self {
        self.key = None;
        self
    }

    pub(super) fn by(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub(super) fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }
}

impl Answer {
    /// The body of a success.
    pub(super) fn ok(self, what: &str) -> anyhow::Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        bail!("{what} was refused with {}: {}", self.status, self.body)
    }

    /// The reason of a refusal: a name of the contract, such as
    /// `INSUFFICIENT_FUNDS`.
    pub(super) fn reason(&self) -> Option<&str> {
        self.error_info()?.get("reason")?.as_str()
    }

    /// A pair of the refusal's metadata.
    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        self.error_info()?.get("metadata")?.get(key)?.as_str()
    }

    fn error_info(&self) -> Option<&Value> {
        let details = self.body.get("details")?.as_array()?;
        details.iter().find(|detail| detail.get("reason").is_some())
    }
}

impl Rest {
    pub(super) fn new(gateway: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(ATTEMPT_TIMEOUT)
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            gateway: gateway.to_owned(),
        })
    }

    /// Sends until there is an answer that is about the call and not about the
    /// mesh's present state.
    pub(super) async fn send(&self, call: &Call) -> anyhow::Result<Answer> {
        let start = Instant::now();
        loop {
            let (obstacle, pause) = match self.attempt(call).await {
                Ok(answer) => match transient(&answer) {
                    None => return Ok(answer),
                    Some(pause) => (anyhow::anyhow!("{}: {}", answer.status, answer.body), pause),
                },
                Err(error) => (error.into(), REPEAT_INTERVAL),
            };
            if start.elapsed() + pause >= PATIENCE {
                return Err(obstacle).with_context(|| {
                    format!(
                        "no answer to {} {} in {} s",
                        call.method,
                        call.path,
                        PATIENCE.as_secs()
                    )
                });
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, call: &Call) -> reqwest::Result<Answer> {
        let url = format!("{}{}", self.gateway, call.path);
        let mut request = self.client.request(call.method.clone(), url);
        if let Some(token) = &call.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let replayed = response
            .headers()
            .get("idempotency-replayed")
            .is_some_and(|value| value.as_bytes() == b"true");
        let body = response.bytes().await?;
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Ok(Answer {
            status,
            replayed,
            body,
        })
    }
}

/// How long to wait before the call is repeated, if the answer is about the mesh:
/// it is healing, or busy with the same call, or this caller is too fast.
fn transient(answer: &Answer) -> Option<Duration> {
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => Some(Duration::from_secs(3)),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Some(REPEAT_INTERVAL)
        }
        // ABORTED: the first call with this key is still running.
        StatusCode::CONFLICT if answer.body["code"] == 10 => Some(REPEAT_INTERVAL),
        // A gateway just started that has not fetched the key set yet.
        StatusCode::UNAUTHORIZED if answer.body.to_string().contains("Jwks") => {
            Some(REPEAT_INTERVAL)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: StatusCode, body: Value) -> Answer {
        Answer {
            status,
            replayed: false,
            body,
        }
    }

    #[test]
    fn only_answers_about_the_mesh_are_repeated() {
        // A refusal of the call itself is final, whatever its status.
        let unavailable = answer(StatusCode::SERVICE_UNAVAILABLE, json!({"code": 14}));
        assert!(transient(&unavailable).is_some());
        assert!(transient(&answer(StatusCode::CONFLICT, json!({"code": 10}))).is_some());
        assert!(transient(&answer(StatusCode::CONFLICT, json!({"code": 6}))).is_none());
        assert!(transient(&answer(StatusCode::UNAUTHORIZED, json!({"code": 16}))).is_none());
        assert!(transient(&answer(StatusCode::BAD_REQUEST, json!({"code": 9}))).is_none());
    }

    #[test]
    fn the_reason_is_found_among_the_details() {
        // ErrorInfo is the detail that has a reason, wherever it stands.
        let refused = answer(
            StatusCode::BAD_REQUEST,
            json!({"code": 9, "details": [
                {"violations": []},
                {"reason": "INSUFFICIENT_FUNDS", "metadata": {"transaction_id": "txn_1"}},
            ]}),
        );
        assert_eq!(refused.reason(), Some("INSUFFICIENT_FUNDS"));
        assert_eq!(refused.metadata("transaction_id"), Some("txn_1"));
    }
}
