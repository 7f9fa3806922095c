//! The innermost layer: who calls, whether the caller may, and the idempotency
//! key. What it finds goes to the handler as a `Context`.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bursar_aip::idempotency::{self, Key};
use bursar_auth::Subject;
use bursar_contracts::policy::{self, Idempotency};
use http::HeaderMap;
use tonic::Status;

use super::Stack;
use super::deadline::Deadline;
use super::scope::{self, CallScope};
use crate::context::Context;
use crate::detached::now;

/// The metadata that carries an idempotency key.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) async fn around(stack: Stack, mut request: Request, next: Next) -> Response {
    let deadline = request.extensions().get::<Deadline>().copied();
    let settled = settle(&stack, request.uri().path(), request.headers(), deadline);
    match settled.await {
        Ok(None) => next.run(request).await,
        Ok(Some(context)) => {
            let user_token = match context.caller.subject {
                Subject::User(_) => context.caller.token.clone(),
                Subject::Anonymous | Subject::Service(_) => None,
            };
            let scope = CallScope {
                deadline: Some(context.deadline),
                user_token,
            };
            request.extensions_mut().insert(context);
            scope::enter(scope, next.run(request)).await
        }
        Err(status) => super::refuse(status),
    }
}

/// The context of a call; `None` for health checks, reflection and paths that are
/// no RPC of the contract, which the router answers itself.
async fn settle(
    stack: &Stack,
    path: &str,
    headers: &HeaderMap,
    deadline: Option<Deadline>,
) -> Result<Option<Context>, Status> {
    let Some((method, policy)) = policy::lookup(path) else {
        return Ok(None);
    };
    let authorized = stack
        .authorizer
        .authorize(method, policy, headers, now().unix_timestamp())
        .await?;
    let idempotency_key = idempotency_key(policy.idempotency(), headers)?;
    let deadline = deadline.map_or_else(
        || Instant::now() + Duration::from_millis(u64::from(policy.deadline_ms)),
        |deadline| deadline.0,
    );
    Ok(Some(Context {
        caller: authorized.caller,
        idempotency_key,
        method,
        deadline,
        reach: authorized.reach,
    }))
}

fn idempotency_key(rule: Idempotency, headers: &HeaderMap) -> Result<Option<Key>, Status> {
    match (rule, headers.get(IDEMPOTENCY_KEY)) {
        (Idempotency::None | Idempotency::Unspecified, _) | (Idempotency::Optional, None) => {
            Ok(None)
        }
        (Idempotency::Required, None) => Err(idempotency::required()),
        (Idempotency::Required | Idempotency::Optional, Some(value)) => {
            let text = value.to_str().unwrap_or_default();
            Ok(Some(Key::parse(text)?))
        }
    }
}
