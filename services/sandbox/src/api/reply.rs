//! The ways in which a provider answers, or does not.

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
    let failure = futures::stream::once(async { Err::<Bytes, _>(hung_up()) });
    let mut response = HttpResponse::new(Body::from_stream(failure));
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Why a body ends early.
pub(super) fn hung_up() -> std::io::Error {
    std::io::Error::other("hung up on demand")
}

/// Says nothing for a long time, then closes the connection.
pub(super) async fn stay_silent(shutdown: &CancellationToken) -> Response {
    pause(SILENCE, shutdown).await;
    hang_up()
}

/// The reply that a fault gives to a question in place of the answer; `None` when
/// the answer follows, late or not, whole or not.
pub(super) async fn question_fault(
    fault: Option<Fault>,
    shutdown: &CancellationToken,
) -> Option<Result<Response, ApiError>> {
    let fault = fault?;
    if let Some(status) = fault.error_status() {
        return Some(Err(ApiError::simulated(status)));
    }
    match fault.kind {
        FaultKind::Timeout => Some(Ok(stay_silent(shutdown).await)),
        FaultKind::ConnectionReset => Some(Ok(hang_up())),
        FaultKind::Slow => {
            pause(fault.delay, shutdown).await;
            None
        }
        // These are arranged for requests only, or answered above.
        FaultKind::Error500
        | FaultKind::HttpError
        | FaultKind::LostResponse
        | FaultKind::NoAnswer
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

/// Cuts what was found, which is one more than a page has when there are more
/// pages, to the page, and tells where the next one starts.
pub(super) fn cut<T, P>(found: &mut Vec<T>, limit: i64, place: impl Fn(&T) -> P) -> Option<P> {
    let has_more = i64::try_from(found.len()).is_ok_and(|count| count > limit);
    if has_more {
        found.pop();
    }
    has_more.then(|| found.last().map(place)).flatten()
}
