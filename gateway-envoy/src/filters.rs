//! The order in which a request is looked at.

use std::path::Path;

use serde_json::{Value, json};

use crate::contract::Rpc;
use crate::envoy::{default_header, extension, set_header};
use crate::settings::Settings;
use crate::{body_limit, cors, jwt, rate_limits, strict_json, transcoder};

/// Where the gateway itself says that it serves.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// The filter chain, outermost first.
pub(crate) fn chain(settings: &Settings, rpcs: &[Rpc], descriptors: &Path) -> Vec<Value> {
    let filters = [
        // What every answer carries, those of the filters below included.
        Some(answer_headers()),
        // Preflights and health checks need nothing of what follows.
        Some(cors::filter()),
        Some(health_check()),
        // Outside of all that may refuse a call, so that refusals are gRPC-Web too.
        Some(grpc_web()),
        // Before anything reads a body.
        Some(body_limit::filter(settings.limits.request_bytes)),
        Some(body_limit::per_route_filter(settings.limits.callback_bytes)),
        // REST calls only: the fields, while they are still JSON.
        Some(strict_json::filter(rpcs)),
        // From here on every call is gRPC and matches the route of its RPC.
        Some(transcoder::filter(rpcs, descriptors, &settings.limits)),
        Some(jwt::filter(&settings.jwt)),
        // After the token, because most limits are a user's.
        rate_limits::filter(&settings.rate_limits),
        Some(grpc_stats()),
        Some(router()),
    ];
    filters.into_iter().flatten().collect()
}

fn answer_headers() -> Value {
    let append = |header: Value| json!({ "append": header });
    extension(
        "envoy.filters.http.header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        json!({
            "mutations": {
                "response_mutations": [
                    // How things are inside is nobody's business.
                    { "remove_on_match": { "key_matcher": { "prefix": "x-envoy-" } } },
                    append(default_header("cache-control", "no-store")),
                    append(set_header("content-security-policy", "default-src 'none'; frame-ancestors 'none'")),
                    append(set_header("referrer-policy", "no-referrer")),
                    append(set_header("x-content-type-options", "nosniff")),
                ],
            },
        }),
    )
}

fn health_check() -> Value {
    extension(
        "envoy.filters.http.health_check",
        "envoy.extensions.filters.http.health_check.v3.HealthCheck",
        json!({
            "pass_through_mode": false,
            "headers": [{ "name": ":path", "string_match": { "exact": HEALTH_PATH } }],
        }),
    )
}

fn grpc_web() -> Value {
    extension(
        "envoy.filters.http.grpc_web",
        "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
        json!({}),
    )
}

fn grpc_stats() -> Value {
    extension(
        "envoy.filters.http.grpc_stats",
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        json!({ "stats_for_all_methods": true }),
    )
}

fn router() -> Value {
    extension(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({ "suppress_envoy_headers": true }),
    )
}
