//! How a request goes that may be hit by a fault.

use axum::http::StatusCode;
use axum::response::Response;
use sqlx::PgConnection;

use super::{Api, reply};
use crate::domain::{Fault, FaultKind, Surprise};
use crate::error::ApiError;
use crate::store;
use crate::store::faults::Occasion;

/// The fault that was arranged for a request, or the surprise that the request
/// brings by itself. A reference that is in the books already is beyond
/// surprises.
pub(super) async fn fault_of(
    conn: &mut PgConnection,
    occasion: Occasion<'_>,
    surprise: Option<Surprise>,
    is_known: bool,
) -> Result<Option<Fault>, ApiError> {
    let arranged = store::faults::take(conn, occasion).await?;
    if arranged.is_some() || is_known {
        return Ok(arranged);
    }
    let Some(surprise) = surprise else {
        return Ok(None);
    };
    let Occasion {
        operation,
        reference,
        ..
    } = occasion;
    let happens =
        !surprise.only_once || store::faults::surprise_once(conn, operation, reference).await?;
    Ok(happens.then_some(surprise.fault))
}

/// Records what was asked for and answers it, unless the fault wants it
/// otherwise.
pub(super) async fn conduct<T: Send + 'static>(
    api: &Api,
    fault: Option<Fault>,
    recording: impl Future<Output = Result<(StatusCode, T), ApiError>> + Send + 'static,
    tell: impl FnOnce((StatusCode, T)) -> Response,
) -> Result<Response, ApiError> {
    if let Some(fault) = &fault
        && fault.kind.loses_request()
    {
        return lose(api, fault).await;
    }
    let recorded = detached(recording).await?;
    match fault.map(|fault| (fault.kind, fault.delay)) {
        Some((FaultKind::LostResponse, _)) => return Ok(reply::hang_up()),
        Some((FaultKind::NoAnswer, _)) => return Ok(reply::stay_silent(&api.shutdown).await),
        Some((FaultKind::Slow, delay)) => reply::pause(delay, &api.shutdown).await,
        Some(_) | None => {}
    }
    Ok(tell(recorded))
}

/// Runs a recording in a task of its own: a customer that hangs up while the
/// books are being written must not leave the connection inside a transaction.
pub(super) async fn detached<T: Send + 'static>(
    recording: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(recording).await.unwrap_or_else(|failure| {
        tracing::error!(%failure, "a recording did not end by itself");
        Err(ApiError::Broken)
    })
}

/// Answers a request that a fault loses.
async fn lose(api: &Api, fault: &Fault) -> Result<Response, ApiError> {
    tracing::info!(fault = fault.kind.name(), "a request is lost on demand");
    if let Some(status) = fault.error_status() {
        return Err(ApiError::simulated(status));
    }
    if fault.kind == FaultKind::Timeout {
        return Ok(reply::stay_silent(&api.shutdown).await);
    }
    Ok(reply::hang_up())
}
