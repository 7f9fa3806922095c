//! Work that outlives its caller.

use std::future::Future;

use bursar_contracts::r#type::v1::ErrorReason;
use bursar_crash::canary;
use bursar_status::{StatusBuilder, correlation};
use time::OffsetDateTime;
use tonic::{Code, Status};
use tracing::Instrument;

use crate::layers::scope;

/// Runs a mutation in a task of its own, so that a caller that leaves, or a
/// deadline that passes, cannot cut it off between two statements: dropping
/// a future inside `BEGIN` would give an open transaction back to the pool. The
/// correlation id, the span, the user's token and the deadline go along.
pub async fn detached<T, F>(future: F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>> + Send + 'static,
    T: Send + 'static,
{
    // On the heap from the start: the future of a whole call is large, and each of the
    // wrappers, and the task, would move it once more.
    let future = Box::pin(future);
    let scoped = scope::carry(correlation::scope(
        correlation::current(),
        future.instrument(tracing::Span::current()),
    ));
    if canary!("handler.not_detached") {
        return scoped.await;
    }
    tokio::spawn(scoped).await.unwrap_or_else(|failure| {
        tracing::error!(%failure, "a mutation's task did not end by itself");
        Err(StatusBuilder::new(
            Code::Internal,
            ErrorReason::Internal,
            "internal error; quote the correlation id when you report it",
        )
        .metadata("correlation_id", correlation::current().as_str())
        .into())
    })
}

/// The time, in the microseconds that the databases keep.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000)
        .expect("fewer nanoseconds than a second has stay fewer")
}
