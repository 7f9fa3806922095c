//! The bound on calls that run at once. A call beyond it is refused at once
//! rather than queued: a queue would only make every caller's deadline pass.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use bursar_contracts::policy;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use tokio::sync::Semaphore;
use tonic::Code;

pub(super) async fn around<F: Future<Output = Response>>(
    permits: Arc<Semaphore>,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    // Health checks and reflection are not ours to refuse.
    if policy::of(request.uri().path()).is_none() {
        return next(request).await;
    }
    match permits.try_acquire() {
        Ok(_permit) => next(request).await,
        Err(_) => super::refuse(
            StatusBuilder::new(
                Code::ResourceExhausted,
                ErrorReason::Overloaded,
                "the service has as many calls as it can take",
            )
            .retry_after(Duration::from_millis(200))
            .into(),
        ),
    }
}
