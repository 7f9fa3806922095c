//! Calls to the platform's other services.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bursar_auth::USER_TOKEN_HEADER;
use bursar_contracts::identity::v1::IssueServiceTokenRequest;
use bursar_contracts::identity::v1::identity_service_client::IdentityServiceClient;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::{StatusBuilder, correlation};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::Service;

use crate::layers::scope;
use crate::telemetry;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest a call may take when no caller's deadline says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long before its end a service token is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// Makes a channel that connects when it is first used and again after a loss.
fn lazy_channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

/// The service's own tokens, fetched by its client credentials and kept until
/// shortly before they end.
#[derive(Clone)]
pub(crate) struct ServiceTokens(Arc<TokensInner>);

struct TokensInner {
    client: IdentityServiceClient<Channel>,
    client_id: String,
    client_secret: SecretString,
    current: Mutex<Option<(SecretString, Instant)>>,
}

impl ServiceTokens {
    pub(crate) fn new(
        identity_address: &str,
        client_id: String,
        client_secret: SecretString,
    ) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(TokensInner {
            client: IdentityServiceClient::new(lazy_channel(identity_address)?),
            client_id,
            client_secret,
            current: Mutex::new(None),
        })))
    }

    /// A token that is good for a while yet. Fails with UNAVAILABLE while
    /// identity cannot be reached.
    async fn token(&self) -> Result<SecretString, Status> {
        let mut current = self.0.current.lock().await;
        if let Some((token, renew_at)) = current.as_ref()
            && Instant::now() < *renew_at
        {
            return Ok(token.clone());
        }
        let mut request = tonic::Request::new(IssueServiceTokenRequest {
            client_id: self.0.client_id.clone(),
            client_secret: self.0.client_secret.expose_secret().to_owned(),
        });
        request.set_timeout(Duration::from_secs(2));
        let issued = self
            .0
            .client
            .clone()
            .issue_service_token(request)
            .await
            .map_err(|status| {
                tracing::warn!(code = ?status.code(), reason = status.message(), "no service token");
                Status::from(
                    StatusBuilder::new(
                        Code::Unavailable,
                        ErrorReason::Unavailable,
                        "the service cannot get a token for its own calls now",
                    )
                    .retry_after(Duration::from_secs(1)),
                )
            })?
            .into_inner();
        let lifetime = Duration::from_secs(u64::from(issued.expires_in_seconds));
        let token = SecretString::from(issued.access_token);
        let renew_at = Instant::now() + lifetime.saturating_sub(RENEW_BEFORE);
        *current = Some((token.clone(), renew_at));
        Ok(token)
    }

    /// Forgets a token that was not accepted, so that the next call fetches another.
    async fn forget(&self) {
        *self.0.current.lock().await = None;
    }
}

/// A channel to another service, for the generated clients. Every call gets
/// the service's token, the user's token, the correlation id, the trace and the
/// remaining deadline.
#[derive(Clone)]
pub struct Outbound {
    channel: Channel,
    tokens: ServiceTokens,
}

impl Outbound {
    pub(crate) fn new(address: &str, tokens: ServiceTokens) -> anyhow::Result<Self> {
        Ok(Self {
            channel: lazy_channel(address)?,
            tokens,
        })
    }
}

impl Service<http::Request<Body>> for Outbound {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The channel that was polled ready is the one that must be called.
        let ready = self.channel.clone();
        let mut channel = std::mem::replace(&mut self.channel, ready);
        let tokens = self.tokens.clone();
        Box::pin(async move {
            let token = match tokens.token().await {
                Ok(token) => token,
                Err(status) => return Ok(status.into_http()),
            };
            let timeout = decorate(request.headers_mut(), &token);
            match tokio::time::timeout(timeout, channel.call(request)).await {
                Ok(Ok(response)) => {
                    let refused = Status::from_header_map(response.headers())
                        .is_some_and(|status| status.code() == Code::Unauthenticated);
                    if refused {
                        tokens.forget().await;
                    }
                    Ok(response)
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Ok(timed_out().into_http()),
            }
        })
    }
}

/// Adds what every call carries; returns how long the call may take.
fn decorate(headers: &mut HeaderMap, token: &SecretString) -> Duration {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(
        AUTHORIZATION.as_str(),
        &format!("Bearer {}", token.expose_secret()),
    );
    set(correlation::HEADER, correlation::current().as_str());
    let scope = scope::current();
    if let Some(user_token) = &scope.user_token {
        set(USER_TOKEN_HEADER, user_token.expose_secret());
    }
    let asked = scope
        .deadline
        .map(|deadline| deadline.saturating_duration_since(Instant::now()))
        .unwrap_or(DEFAULT_TIMEOUT);
    // A client may have set a shorter deadline of its own.
    if !headers.contains_key("grpc-timeout") {
        let text = format!("{}m", asked.as_millis().clamp(1, 99_999_999));
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert("grpc-timeout", value);
        }
    }
    telemetry::inject(headers);
    asked
}

fn timed_out() -> Status {
    StatusBuilder::new(
        Code::DeadlineExceeded,
        ErrorReason::DeadlineExceeded,
        "another service did not answer in time; what was asked for may yet happen",
    )
    .retry_after(Duration::from_secs(1))
    .into()
}
