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
use axum::middleware::{from_fn, from_fn_with_state};
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

/// Wraps a service's routes. The last layer added is the outermost.
pub(crate) fn wrap(routes: Routes, stack: &Stack) -> Routes {
    let router: Router = routes
        .into_axum_router()
        .layer(from_fn_with_state(stack.clone(), permission::layer))
        .layer(from_fn(deadline::layer))
        .layer(from_fn_with_state(
            Arc::clone(&stack.permits),
            admission::layer,
        ))
        .layer(from_fn(observe::layer));
    Routes::from(router)
}

/// A refusal as the HTTP response of a gRPC call.
fn refuse(status: Status) -> axum::response::Response {
    status.into_http()
}
