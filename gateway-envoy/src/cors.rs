//! Which browser pages may call, and what they may read of an answer.
//!
//! The policy is the virtual host's, so it holds for every path; a preflight
//! is answered before anything else looks at the request. Tokens travel in a
//! header that a page must set itself, so cookies are never allowed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::clusters;
use crate::contract::Rpc;
use crate::envoy::{extension, typed};
use crate::settings::Cors;

/// The filter's name in the chain and in virtual hosts.
pub(crate) const NAME: &str = "envoy.filters.http.cors";

const MAX_AGE_SECONDS: u32 = 600;

const ALLOWED_HEADERS: [&str; 9] = [
    "authorization",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "x-grpc-web",
    "x-request-id",
    "x-user-agent",
];

const EXPOSED_HEADERS: [&str; 9] = [
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "idempotency-replayed",
    "retry-after",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
];

/// The filter.
pub(crate) fn filter() -> Value {
    extension(
        NAME,
        "envoy.extensions.filters.http.cors.v3.Cors",
        json!({}),
    )
}

/// The route of every preflight. The filter answers it, but does not look at
/// routes that lead nowhere, so it has a cluster that it never reaches.
pub(crate) fn preflight_route(settings: &Cors) -> Option<Value> {
    if settings.origins.is_empty() {
        return None;
    }
    Some(json!({
        "name": "preflight",
        "match": {
            "prefix": "/",
            "headers": [
                { "name": ":method", "string_match": { "exact": "OPTIONS" } },
                { "name": "origin", "present_match": true },
                { "name": "access-control-request-method", "present_match": true },
            ],
        },
        "route": { "cluster": clusters::grpc_name("identity") },
    }))
}

/// The policy of the virtual host.
pub(crate) fn policy(settings: &Cors, rpcs: &[Rpc]) -> Value {
    let bindings = rpcs.iter().flat_map(|rpc| &rpc.bindings);
    // gRPC-Web always posts.
    let methods: BTreeSet<&str> = bindings
        .map(|binding| binding.method)
        .chain(["OPTIONS", "POST"])
        .collect();
    let origins: Vec<Value> = settings
        .origins
        .iter()
        .map(|origin| json!({ "exact": origin }))
        .collect();
    typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        json!({
            "allow_origin_string_match": origins,
            "allow_methods": methods.into_iter().collect::<Vec<_>>().join(","),
            "allow_headers": ALLOWED_HEADERS.join(","),
            "expose_headers": EXPOSED_HEADERS.join(","),
            "forward_not_matching_preflights": false,
            "max_age": MAX_AGE_SECONDS.to_string(),
            "allow_credentials": false,
        }),
    )
}
