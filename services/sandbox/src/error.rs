//! What a request is refused with: `{"error":{"code":…,"message":…}}`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

use crate::domain::RequestInvalid;

/// Why a request is refused.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// The API key is missing or wrong.
    #[error("the header Authorization must be `Bearer` and the API key")]
    Unauthorized,
    /// The body is not what it must be.
    #[error("{0}")]
    Body(#[from] JsonRejection),
    /// The query is not what it must be.
    #[error("{0}")]
    Query(#[from] QueryRejection),
    /// A field is out of bounds.
    #[error(transparent)]
    Invalid(#[from] RequestInvalid),
    /// A fault is asked for that there is not.
    #[error("{0}")]
    FaultInvalid(&'static str),
    /// The reference was used for something else.
    #[error("the reference was used before with another body")]
    ReferenceReused,
    /// The request came after the time until which it was valid.
    #[error("the request came after valid_until; it was not recorded")]
    Late,
    /// No account number is left for the reference.
    #[error("internal error")]
    NumbersTaken,
    /// Nothing of that reference.
    #[error("no such reference")]
    NotFound,
    /// No route of that name.
    #[error("no such route")]
    NoRoute,
    /// A fault on demand.
    #[error("internal error")]
    Simulated,
    /// The database failed.
    #[error("internal error")]
    Database(#[from] sqlx::Error),
    /// The answer could not be written.
    #[error("internal error")]
    Json(#[from] serde_json::Error),
}

impl ApiError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Body(rejection) => (rejection.status(), "body_invalid"),
            Self::Query(rejection) => (rejection.status(), "query_invalid"),
            Self::Invalid(_) | Self::FaultInvalid(_) => (StatusCode::BAD_REQUEST, "field_invalid"),
            Self::ReferenceReused => (StatusCode::CONFLICT, "reference_reused"),
            Self::Late => (StatusCode::GONE, "expired"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no_route"),
            Self::NumbersTaken | Self::Simulated | Self::Database(_) | Self::Json(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match &self {
            Self::Database(error) => tracing::error!(%error, "the books cannot be read or written"),
            Self::Json(error) => tracing::error!(%error, "an answer cannot be written"),
            Self::NumbersTaken => tracing::error!("no account number is left for a reference"),
            Self::Simulated => tracing::info!("a fault on demand: 500"),
            Self::Unauthorized
            | Self::Body(_)
            | Self::Query(_)
            | Self::Invalid(_)
            | Self::FaultInvalid(_)
            | Self::ReferenceReused
            | Self::Late
            | Self::NotFound
            | Self::NoRoute => tracing::warn!(error = %self, "a request is refused"),
        }
        let (status, code) = self.status_and_code();
        let body = json!({"error": {"code": code, "message": self.to_string()}});
        (status, Json(body)).into_response()
    }
}
