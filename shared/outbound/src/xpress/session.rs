//! The signed-in session: two tokens that come back in headers and travel in
//! the same ones. They are got once, however many calls need them, and are in no
//! log: their header values are marked as sensitive.

use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::sync::Mutex;

use crate::Failure;

const ACCESS: HeaderName = HeaderName::from_static("x-access-token");
const REFRESH: HeaderName = HeaderName::from_static("x-refresh-token");

/// The tokens of a session.
pub(super) struct Tokens {
    access: HeaderValue,
    refresh: HeaderValue,
}

impl Tokens {
    /// The headers of a request.
    pub(super) fn headers(&self) -> HeaderMap {
        let tokens = [
            (ACCESS, self.access.clone()),
            (REFRESH, self.refresh.clone()),
        ];
        tokens.into_iter().collect()
    }
}

/// Signs in, and renews what was got.
pub(super) struct Session {
    client: Client,
    base: String,
    email: String,
    password: SecretString,
    /// Held while tokens are got, so that one call gets them for all.
    tokens: Mutex<Option<Arc<Tokens>>>,
}

impl Session {
    pub(super) fn new(client: Client, base: String, email: String, password: SecretString) -> Self {
        Self {
            client,
            base,
            email,
            password,
            tokens: Mutex::new(None),
        }
    }

    /// The tokens; signs in when there are none. Every failure says that the request
    /// proper was not sent.
    pub(super) async fn tokens(&self) -> Result<Arc<Tokens>, Failure> {
        let mut tokens = self.tokens.lock().await;
        if let Some(tokens) = tokens.as_ref() {
            return Ok(Arc::clone(tokens));
        }
        let signed_in = Arc::new(self.sign_in().await?);
        *tokens = Some(Arc::clone(&signed_in));
        Ok(signed_in)
    }

    /// Other tokens than these, which were refused: those that another call has
    /// got meanwhile, or renewed ones, or those of a new session.
    pub(super) async fn renewed(&self, refused: &Arc<Tokens>) -> Result<Arc<Tokens>, Failure> {
        let mut tokens = self.tokens.lock().await;
        if let Some(tokens) = tokens.as_ref()
            && !Arc::ptr_eq(tokens, refused)
        {
            return Ok(Arc::clone(tokens));
        }
        *tokens = None;
        let renewed = match self.renew(refused).await {
            Some(renewed) => renewed,
            None => self.sign_in().await?,
        };
        let renewed = Arc::new(renewed);
        *tokens = Some(Arc::clone(&renewed));
        Ok(renewed)
    }

    async fn sign_in(&self) -> Result<Tokens, Failure> {
        let form = json!({
            "email": self.email,
            "password": self.password.expose_secret(),
        });
        let response = self
            .client
            .post(format!("{}/auth/login", self.base))
            .json(&form)
            .send()
            .await
            .map_err(|_| Failure::SignInUnanswered)?;
        let status = response.status();
        if status != StatusCode::OK {
            tracing::error!(%status, "Xpress Wallet does not let us sign in");
            return Err(Failure::SignInRefused(status));
        }
        tokens_of(&response).ok_or(Failure::SignInWithoutTokens)
    }

    /// New tokens for these; `None` when it takes a new session to get some.
    async fn renew(&self, refused: &Tokens) -> Option<Tokens> {
        let response = self
            .client
            .post(format!("{}/auth/refresh/token", self.base))
            .headers(refused.headers())
            .send()
            .await
            .ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        tokens_of(&response)
    }
}

fn tokens_of(response: &Response) -> Option<Tokens> {
    let token = |name: HeaderName| {
        let mut value = response.headers().get(name)?.clone();
        value.set_sensitive(true);
        Some(value)
    };
    Some(Tokens {
        access: token(ACCESS)?,
        refresh: token(REFRESH)?,
    })
}
