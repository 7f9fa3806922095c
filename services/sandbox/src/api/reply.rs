//! The ways in which a provider does not answer.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response as HttpResponse, header};
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use crate::domain::{Fault, FaultKind};
use crate::error::ApiError;

/// How long a request is left without an answer before its connection closes.
const SILENCE: Duration = Duration::from_secs(120);

/// Closes the connection without an answer. The body fails before anything of
/// the answer is written, so the client sees the connection end and no status.
pub(super) fn hang_up() -> Response {
    let failure = futures::stream::once(async {
        Err::<Bytes, _>(std::io::Error::other("hung up on demand"))
    });
    let mut response = HttpResponse::new(Body::from_stream(failure));
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Says nothing for a long time, then closes the connection.
pub(super) async fn stay_silent(shutdown: &CancellationToken) -> Response {
    pause(SILENCE, shutdown).await;
    hang_up()
}

/// The reply that a fault gives to a question in place of the answer; `None` when
/// the answer follows, late or not.
pub(super) async fn status_fault(
    fault: Option<Fault>,
    shutdown: &CancellationToken,
) -> Option<Result<Response, ApiError>> {
    let fault = fault?;
    match fault.kind {
        FaultKind::Timeout => Some(Ok(stay_silent(shutdown).await)),
        FaultKind::Error500 => Some(Err(ApiError::Simulated)),
        FaultKind::ConnectionReset => Some(Ok(hang_up())),
        FaultKind::Slow => {
            pause(fault.delay, shutdown).await;
            None
        }
        // None of these is arranged for questions.
        FaultKind::LostResponse
        | FaultKind::Decline
        | FaultKind::Pending
        | FaultKind::PendingDecline => None,
    }
}

/// Waits, but not longer than the process runs.
pub(super) async fn pause(duration: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = shutdown.cancelled() => {}
    }
}
