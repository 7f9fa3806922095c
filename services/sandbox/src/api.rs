//! The provider's HTTP API.

mod accounts;
mod create;
mod faults;
mod form;
mod read;
mod reply;

pub(crate) use create::announce;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::domain::Kind;
use crate::error::ApiError;

/// The largest body, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// What every handler works with.
#[derive(Clone)]
struct Api {
    pool: PgPool,
    /// Whether finished movements are told to the customer.
    tells: bool,
    shutdown: CancellationToken,
}

/// The routes, all of which need the API key.
pub(crate) fn router(pool: PgPool, settings: &Settings, shutdown: CancellationToken) -> Router {
    let api = Api {
        pool,
        tells: settings.callbacks.is_some(),
        shutdown,
    };
    Router::new()
        .route(
            "/v1/charges",
            post(|state, body| create::create(state, Kind::Charge, body))
                .get(|state, query| read::list(state, Kind::Charge, query)),
        )
        .route(
            "/v1/charges/{reference}",
            get(|state, path| read::get(state, Kind::Charge, path)),
        )
        .route(
            "/v1/payouts",
            post(|state, body| create::create(state, Kind::Payout, body))
                .get(|state, query| read::list(state, Kind::Payout, query)),
        )
        .route(
            "/v1/payouts/{reference}",
            get(|state, path| read::get(state, Kind::Payout, path)),
        )
        .route("/v1/accounts", post(accounts::create))
        .route("/v1/accounts/{reference}", get(accounts::get))
        .route(
            "/v1/faults",
            post(faults::create).get(faults::list).delete(faults::clear),
        )
        .fallback(async || ApiError::NoRoute)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(
            settings.api_key.clone(),
            require_key,
        ))
        .with_state(api)
}

async fn require_key(
    State(api_key): State<SecretString>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .ok_or(ApiError::Unauthorized)?;
    // Digests have one length, so that the comparison tells nothing by its time.
    let given = Sha256::digest(given);
    let wanted = Sha256::digest(api_key.expose_secret());
    if bool::from(given.as_slice().ct_eq(wanted.as_slice())) {
        Ok(next.run(request).await)
    } else {
        Err(ApiError::Unauthorized)
    }
}
