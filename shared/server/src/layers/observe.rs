//! The outermost layer: the correlation id, the span, the metrics, and one log
//! line for each failure.

use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;
use bursar_contracts::policy;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use bursar_status::correlation::{self, CorrelationId, HEADER};
use futures::FutureExt;
use http::HeaderValue;
use std::panic::AssertUnwindSafe;
use tonic::{Code, Status};
use tracing::Instrument;

use crate::telemetry;

pub(super) async fn around<F: Future<Output = Response>>(
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let id = request
        .headers()
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(CorrelationId::parse)
        .unwrap_or_else(CorrelationId::generate);
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!(
        "rpc",
        otel.name = %path,
        otel.kind = "server",
        rpc.method = %path,
        correlation_id = id.as_str(),
    );
    telemetry::set_parent(&span, request.headers());
    let method = policy::lookup(&path).map_or("other", |(method, _)| method);
    let call = observed(method, next(request)).instrument(span);
    let mut response = correlation::scope(id.clone(), call).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

async fn observed(method: &'static str, call: impl Future<Output = Response>) -> Response {
    let started = Instant::now();
    let response = AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            tracing::error!("a handler panicked");
            super::refuse(panicked())
        });
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| {
        log_failure(&status);
        status.code()
    });
    metrics::histogram!(
        "bursar_rpc_duration_seconds",
        "method" => method,
        "code" => name(code),
    )
    .record(started.elapsed());
    response
}

/// The name of a code, as metrics have it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "Ok",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// One line a failure. Internal errors were logged with their cause where they
/// were made.
fn log_failure(status: &Status) {
    match status.code() {
        Code::Ok | Code::Internal => {}
        Code::Unknown | Code::DataLoss | Code::Unimplemented => {
            tracing::error!(code = ?status.code(), reason = status.message(), "rpc failed");
        }
        Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::Unauthenticated => {
            tracing::warn!(code = ?status.code(), reason = status.message(), "rpc refused");
        }
    }
}

fn panicked() -> Status {
    StatusBuilder::new(
        Code::Internal,
        ErrorReason::Internal,
        "internal error; quote the correlation id when you report it",
    )
    .metadata("correlation_id", correlation::current().as_str())
    .into()
}
