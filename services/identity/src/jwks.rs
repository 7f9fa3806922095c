//! The key set over HTTP, for the gateway and every service.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use bursar_server::now;

use crate::keyring::Keyring;

/// Where the key set is.
pub const PATH: &str = "/.well-known/jwks.json";

/// How long the set may be cached: much shorter than a key is announced before
/// it signs.
const CACHING: &str = "public, max-age=300";

/// The route of the key set.
pub(crate) fn router(keyring: Arc<Keyring>) -> Router {
    Router::new().route(PATH, get(key_set)).with_state(keyring)
}

async fn key_set(State(keyring): State<Arc<Keyring>>) -> impl IntoResponse {
    ([(CACHE_CONTROL, CACHING)], Json(keyring.published(now())))
}
