//! The form for gRPC and gRPC-Web callers: headers, and nothing else.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bursar_status::StatusBuilder;
use serde_json::{Value, json};
use tonic::Status;

use super::condition::{all, is_grpc, path_is_one_of, status_is};
use super::{Message, Reply, Retry};
use crate::contract::Rpc;
use crate::envoy::set_header;
use crate::rate_limits;
use crate::settings::RateLimits;

/// The mappers of an answer: one, or for rate limits one a class, because the
/// details are fixed bytes and classes refill at different speeds.
pub(super) fn mappers(reply: &Reply, rpcs: &[Rpc], limits: &RateLimits) -> Vec<Value> {
    match reply.retry {
        Retry::No | Retry::After(_) => vec![mapper(reply, &[], reply.retry.known())],
        Retry::RateLimit => rate_limits::refill_by_path(rpcs, limits)
            .into_iter()
            .map(|(paths, refill)| mapper(reply, &[path_is_one_of(&paths)], Some(refill)))
            .collect(),
    }
}

/// The mapper of an answer under further conditions.
pub(super) fn mapper(reply: &Reply, further: &[Value], retry: Option<Duration>) -> Value {
    let text = match reply.message {
        Message::Fixed(text) | Message::Told(text) => text,
    };
    let builder = StatusBuilder::new(reply.grpc_code, reply.reason, text);
    let status: Status = match retry {
        Some(delay) => builder.retry_after(delay),
        None => builder,
    }
    .into();
    let details = STANDARD_NO_PAD.encode(status.details());
    let conditions: Vec<Value> = [status_is(reply.status), is_grpc()]
        .into_iter()
        .chain(further.iter().cloned())
        .collect();
    json!({
        "filter": all(&conditions),
        // The HTTP status of every gRPC answer; gRPC-Web clients insist on it.
        "status_code": 200,
        "headers_to_add": [
            set_header("grpc-status", &i32::from(reply.grpc_code).to_string()),
            set_header("grpc-message", text),
            set_header("grpc-status-details-bin", &details),
        ],
        // With a body, the gRPC-Web filter would take the answer for one of
        // plain HTTP and choose a code itself.
        "body_format_override": { "text_format_source": { "inline_string": "" } },
    })
}
