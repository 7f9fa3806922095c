//! The provider's HTTP API.

mod accounts;
mod authorizations;
mod clock;
mod conduct;
mod create;
mod discrepancies;
mod draw;
mod faults;
pub(crate) mod form;
mod movements;
mod read;
mod reply;
mod settlements;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::domain::{FeeRule, Kind};
use crate::error::ApiError;

/// The largest body, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// What every handler works with.
#[derive(Clone)]
struct Api {
    pool: PgPool,
    /// Whether what is finished is told to the customer.
    tells: bool,
    /// What the provider keeps for itself.
    fees: FeeRule,
    /// The key under which tokens follow from card numbers.
    card_key: SecretString,
    shutdown: CancellationToken,
}

/// The routes, all of which need the API key.
pub(crate) fn router(pool: PgPool, settings: &Settings, shutdown: CancellationToken) -> Router {
    let api = Api {
        pool,
        tells: settings.callbacks.is_some(),
        fees: settings.fees,
        card_key: settings.api_key.clone(),
        shutdown,
    };
    Router::new()
        .merge(movement_routes())
        .merge(card_routes())
        .merge(test_routes())
        .route("/v1/accounts", post(accounts::create))
        .route("/v1/accounts/{reference}", get(accounts::get))
        .fallback(async || ApiError::NoRoute)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(
            settings.api_key.clone(),
            require_key,
        ))
        .with_state(api)
}

/// What is done with money, and what was settled.
fn movement_routes() -> Router<Api> {
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
        .route(
            "/v1/refunds",
            post(draw::refund).get(|state, query| read::list(state, Kind::Refund, query)),
        )
        .route(
            "/v1/refunds/{reference}",
            get(|state, path| read::get(state, Kind::Refund, path)),
        )
        .route("/v1/movements", get(movements::list))
        .route("/v1/balances", get(settlements::balances))
        .route("/v1/settlements", get(settlements::list))
        .route("/v1/settlements/{file}", get(settlements::file))
}

/// What is done with cards.
fn card_routes() -> Router<Api> {
    Router::new()
        .route("/v1/cards", post(authorizations::keep_card))
        .route(
            "/v1/authorizations",
            post(authorizations::create).get(authorizations::list),
        )
        .route("/v1/authorizations/{reference}", get(authorizations::get))
        .route(
            "/v1/authorizations/{reference}/captures",
            post(draw::capture),
        )
        .route(
            "/v1/authorizations/{reference}/void",
            post(authorizations::void),
        )
        .route(
            "/v1/captures",
            get(|state, query| read::list(state, Kind::Capture, query)),
        )
        .route(
            "/v1/captures/{reference}",
            get(|state, path| read::get(state, Kind::Capture, path)),
        )
}

/// What only a provider for tests has.
fn test_routes() -> Router<Api> {
    Router::new()
        .route(
            "/v1/faults",
            post(faults::create).get(faults::list).delete(faults::clear),
        )
        .route("/v1/faults/{id}", delete(faults::remove))
        .route(
            "/v1/test/clock",
            get(clock::get).post(clock::change).delete(clock::reset),
        )
        .route(
            "/v1/test/settlement_faults",
            post(discrepancies::create)
                .get(discrepancies::list)
                .delete(discrepancies::clear),
        )
        .route(
            "/v1/test/settlement_faults/{id}",
            delete(discrepancies::remove),
        )
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
