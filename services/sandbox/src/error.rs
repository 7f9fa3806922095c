//! What a request is refused with: `{"error":{"code":…,"message":…}}`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

use crate::domain::{ClockOutOfBounds, DrawRefused, RequestInvalid, SourceKind, VoidRefused};

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
    /// A body that may hold a card number is not what it must be. The reason is
    /// not told, for it may quote the number.
    #[error("the body is not JSON of the form that is documented")]
    CardBody(StatusCode),
    /// A field is none that there is.
    #[error("{0}")]
    FieldInvalid(&'static str),
    /// The clock cannot be set like this.
    #[error(transparent)]
    Clock(#[from] ClockOutOfBounds),
    /// A refund or capture is not allowed.
    #[error(transparent)]
    Draw(#[from] DrawRefused),
    /// An authorisation is not voided.
    #[error(transparent)]
    Void(#[from] VoidRefused),
    /// The settlement file of a day to come.
    #[error("the day has not begun")]
    DayNotBegun,
    /// A settlement file is to be wrong in too many ways.
    #[error("a day can have at most 10000 settlement faults")]
    TooManyDiscrepancies,
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
    #[error("{}", simulated(*.0).1)]
    Simulated(StatusCode),
    /// The recording broke off.
    #[error("internal error")]
    Broken,
    /// The database failed.
    #[error("internal error")]
    Database(#[from] sqlx::Error),
    /// The answer could not be written.
    #[error("internal error")]
    Json(#[from] serde_json::Error),
}

/// The code and the message of a fault on demand.
fn simulated(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::TOO_MANY_REQUESTS => ("rate_limited", "too many requests"),
        StatusCode::INTERNAL_SERVER_ERROR => ("internal", "internal error"),
        _ => ("unavailable", "not available now"),
    }
}

impl ApiError {
    /// A fault on demand with a status.
    pub(crate) fn simulated(status: u16) -> Self {
        let status = StatusCode::from_u16(status);
        Self::Simulated(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Body(rejection) => (rejection.status(), "body_invalid"),
            Self::Query(rejection) => (rejection.status(), "query_invalid"),
            Self::CardBody(status) => (*status, "body_invalid"),
            Self::Invalid(_) | Self::FieldInvalid(_) | Self::Clock(_) => {
                (StatusCode::BAD_REQUEST, "field_invalid")
            }
            Self::Draw(refused) => draw_refused(*refused),
            Self::Void(VoidRefused::NotOpen) => (StatusCode::CONFLICT, "authorization_not_open"),
            Self::Void(VoidRefused::Captured) => (StatusCode::CONFLICT, "authorization_captured"),
            Self::Void(VoidRefused::Expired) => (StatusCode::CONFLICT, "authorization_expired"),
            Self::DayNotBegun => (StatusCode::NOT_FOUND, "day_not_begun"),
            Self::TooManyDiscrepancies => (StatusCode::CONFLICT, "too_many_settlement_faults"),
            Self::Simulated(status) => (*status, simulated(*status).0),
            Self::ReferenceReused => (StatusCode::CONFLICT, "reference_reused"),
            Self::Late => (StatusCode::GONE, "expired"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no_route"),
            Self::NumbersTaken | Self::Broken | Self::Database(_) | Self::Json(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        }
    }
}

fn draw_refused(refused: DrawRefused) -> (StatusCode, &'static str) {
    let code = match refused {
        DrawRefused::NotFound(kind) => {
            let code = match kind {
                SourceKind::Charge => "charge_not_found",
                SourceKind::Capture => "capture_not_found",
                SourceKind::Authorization => "authorization_not_found",
            };
            return (StatusCode::NOT_FOUND, code);
        }
        DrawRefused::NotRefundable => "not_refundable",
        DrawRefused::ExceedsRefundable { .. } => "refund_exceeds_charge",
        DrawRefused::NotCapturable => "authorization_not_open",
        DrawRefused::Voided => "authorization_voided",
        DrawRefused::Expired => "authorization_expired",
        DrawRefused::ExceedsAuthorized { .. } => "capture_exceeds_authorization",
        DrawRefused::Currency => "currency_mismatch",
    };
    (StatusCode::CONFLICT, code)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match &self {
            Self::Database(error) => tracing::error!(%error, "the books cannot be read or written"),
            Self::Json(error) => tracing::error!(%error, "an answer cannot be written"),
            Self::NumbersTaken => tracing::error!("no account number is left for a reference"),
            // Where the recording broke off, the reason was told.
            Self::Broken => {}
            Self::Simulated(status) => tracing::info!(%status, "a fault on demand"),
            Self::Unauthorized
            | Self::Body(_)
            | Self::Query(_)
            | Self::Invalid(_)
            | Self::CardBody(_)
            | Self::FieldInvalid(_)
            | Self::Clock(_)
            | Self::Draw(_)
            | Self::Void(_)
            | Self::DayNotBegun
            | Self::TooManyDiscrepancies
            | Self::ReferenceReused
            | Self::Late
            | Self::NotFound
            | Self::NoRoute => tracing::warn!(error = %self, "a request is refused"),
        }
        let (status, code) = self.status_and_code();
        let body = json!({"error": {"code": code, "message": self.to_string()}});
        let mut response = (status, Json(body)).into_response();
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
