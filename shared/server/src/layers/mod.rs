//! The stack of layers around every RPC.
//!
//! From the outside in: the correlation id and the span; the metrics and the one log
//! line of a failure; a panic becomes an error; the bound on concurrent calls;
//! the deadline; the permission; the idempotency key. Validation is the codec's
//! (`bursar_contracts::codec`), since it needs the decoded message.

mod admission;
mod deadline;
mod observe;
mod permission;
pub(crate) mod scope;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use bursar_auth::Authorizer;
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::service::Routes;

/// What the layers need.
#[derive(Clone)]
pub(crate) struct Stack {
    /// Decides who may call.
    pub(crate) authorizer: Authorizer,
    /// One permit for each call that may run.
    pub(crate) permits: Arc<Semaphore>,
}

/// Wraps a service's routes.
pub(crate) fn wrap(routes: Routes, stack: &Stack) -> Routes {
    let router: Router = routes
        .into_axum_router()
        .layer(from_fn_with_state(stack.clone(), around));
    Routes::from(router)
}

/// The stack, from the outside in. It is one layer of the router: every layer of
/// the router clones and boxes all that is within it for each call.
async fn around(State(stack): State<Stack>, request: Request, next: Next) -> Response {
    let permits = Arc::clone(&stack.permits);
    let permitted = move |request| permission::around(stack, request, next);
    let in_time = move |request| deadline::around(request, permitted);
    let admitted = move |request| admission::around(permits, request, in_time);
    observe::around(request, admitted).await
}

/// A refusal as the HTTP response of a gRPC call.
fn refuse(status: Status) -> axum::response::Response {
    status.into_http()
}
