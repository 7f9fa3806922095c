//! Providus' Xpress Wallet over HTTP: the way in. What is asked there is each
//! service's own matter.

mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::SecretString;

use self::session::{Session, Tokens};
use crate::Failure;

/// Where Xpress Wallet is, and as whom it is spoken to.
#[derive(Clone, Debug)]
pub struct XpressSettings {
    /// Its address.
    pub url: Url,
    /// The merchant's e-mail address.
    pub email: String,
    /// The merchant's password.
    pub password: SecretString,
    /// How long a request may take.
    pub deadline: Duration,
}

/// A client that is signed in whenever it has to be.
pub struct Xpress {
    client: Client,
    session: Session,
    base: String,
}

impl Xpress {
    /// A client by these settings.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(settings: XpressSettings) -> anyhow::Result<Self> {
        let client = crate::client(&settings.url, settings.deadline)?;
        let base = settings.url.as_str().trim_end_matches('/').to_owned();
        let session = Session::new(
            client.clone(),
            base.clone(),
            settings.email,
            settings.password,
        );
        Ok(Self {
            client,
            session,
            base,
        })
    }

    /// A request for one of its paths.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request with the session's tokens; once more with new ones when they
    /// are refused, which happens before the request is looked at. All of it takes no
    /// longer than `within`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        within: Duration,
        request: impl Fn() -> RequestBuilder + Sync,
    ) -> Result<Response, Failure> {
        let until = Instant::now() + within;
        let tokens = in_time(until, self.session.tokens()).await?;
        let response = attempt(request(), &tokens, until).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let tokens = in_time(until, self.session.renewed(&tokens)).await?;
        let response = attempt(request(), &tokens, until).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Failure::TurnedAway);
        }
        Ok(response)
    }
}

/// Tokens, unless it takes too long to get some.
async fn in_time(
    until: Instant,
    tokens: impl Future<Output = Result<Arc<Tokens>, Failure>>,
) -> Result<Arc<Tokens>, Failure> {
    tokio::time::timeout_at(until.into(), tokens)
        .await
        .map_err(|_| Failure::SignInUnanswered)?
}

async fn attempt(
    request: RequestBuilder,
    tokens: &Tokens,
    until: Instant,
) -> Result<Response, Failure> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Failure::SignInUnanswered);
    }
    request
        .headers(tokens.headers())
        .timeout(left)
        .send()
        .await
        .map_err(|error| Failure::of(&error))
}
