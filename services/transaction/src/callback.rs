//! `POST /api/v1/transactions/callbacks/{provider}`: providers' callbacks.
//!
//! A callback is believed no further than that something happened: it goes to
//! the inbox and brings the transaction's check forward, and the check asks the
//! provider. It is answered 2xx only once the inbox has it. Errors have the form
//! of the whole API: google.rpc.Status in JSON.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_server::{crash_point, database, now};
use bursar_status::Reason;
use serde_json::json;
use sqlx::PgPool;
use thiserror::Error;
use tonic::Code;

use crate::domain::ProviderName;
use crate::provider::{CallbackRefused, Providers};
use crate::store::callbacks::{self, Received};

/// The largest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

#[derive(Clone)]
struct Inbox {
    pool: PgPool,
    providers: Providers,
}

/// The route of callbacks.
pub(crate) fn router(pool: PgPool, providers: Providers) -> Router {
    Router::new()
        .route("/api/v1/transactions/callbacks/{provider}", post(receive))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Inbox { pool, providers })
}

/// Why a callback is not taken.
#[derive(Debug, Error)]
enum Refused {
    #[error("no such payment provider")]
    Provider,
    #[error(transparent)]
    Callback(#[from] CallbackRefused),
    #[error("the body is too large or was cut off")]
    Bytes(#[from] BytesRejection),
    #[error("the callback cannot be recorded now")]
    Database(#[from] sqlx::Error),
}

async fn receive(
    State(inbox): State<Inbox>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refused> {
    let name: ProviderName = provider.parse().map_err(|_| Refused::Provider)?;
    let provider = inbox.providers.get(&name).ok_or(Refused::Provider)?;
    let body = body?;
    let callback = provider.read_callback(&headers, &body, now())?;
    tracing::info!(provider = %name, kind = callback.kind, "a callback came");
    crash_point!("callback.after_receive");
    // In a task of its own: a provider that hangs up must not leave the
    // connection inside a transaction.
    let pool = inbox.pool.clone();
    let recording = tokio::spawn(async move {
        let mut transaction = database::begin(&pool).await?;
        let received = Received {
            provider: &name,
            id: &callback.id,
            kind: &callback.kind,
            reference: &callback.reference,
            body: &body,
        };
        callbacks::record(&mut transaction, &received).await?;
        crash_point!("callback.before_commit");
        transaction.commit().await
    });
    match recording.await {
        Ok(recorded) => recorded?,
        Err(_) => return Err(Refused::Database(sqlx::Error::WorkerCrashed)),
    }
    crash_point!("callback.after_commit");
    Ok(StatusCode::NO_CONTENT)
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code, reason) = match &self {
            Self::Provider => (
                StatusCode::NOT_FOUND,
                Code::NotFound,
                ErrorReason::MethodNotFound,
            ),
            Self::Callback(CallbackRefused::Signature) => (
                StatusCode::UNAUTHORIZED,
                Code::Unauthenticated,
                ErrorReason::Unauthenticated,
            ),
            Self::Callback(CallbackRefused::Body) => (
                StatusCode::BAD_REQUEST,
                Code::InvalidArgument,
                ErrorReason::InvalidField,
            ),
            Self::Bytes(rejection) => (
                rejection.status(),
                Code::InvalidArgument,
                ErrorReason::InvalidField,
            ),
            Self::Database(error) => {
                tracing::error!(%error, "a callback cannot be recorded");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    Code::Unavailable,
                    ErrorReason::Unavailable,
                )
            }
        };
        tracing::warn!(error = %self, "a callback is not taken");
        let body = json!({
            "code": code as i32,
            "message": self.to_string(),
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason.name(),
                "domain": <ErrorReason as Reason>::DOMAIN,
                "metadata": {},
            }],
        });
        (status, Json(body)).into_response()
    }
}
