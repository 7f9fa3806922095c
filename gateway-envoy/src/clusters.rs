//! Where the services are and how they are spoken to.
//!
//! No host is ever taken out of use: most services are one process, and one
//! that restarts must be found again at once. Until then a connection is
//! refused quickly and the caller hears UNAVAILABLE.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envoy::{duration, seconds, socket_address, typed};
use crate::settings::{Address, Settings};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const KEEPALIVE_INTERVAL_SECONDS: u64 = 30;
const KEEPALIVE_TIMEOUT_SECONDS: u64 = 5;
/// Requests to one service at once; beyond that the gateway sheds load.
const MAX_REQUESTS: u32 = 4096;
const RETRY_BUDGET_PERCENT: u32 = 20;
/// Retries at once that are always allowed, so that a service that restarts
/// under little load is still retried.
const MIN_RETRIES: u32 = 16;
const CONNECTION_BUFFER_BYTES: u32 = 1024 * 1024;

/// The name of a service's gRPC cluster.
pub(crate) fn grpc_name(service: &str) -> String {
    format!("{service}_grpc")
}

/// The name of a service's HTTP cluster.
pub(crate) fn http_name(service: &str) -> String {
    format!("{service}_http")
}

/// All clusters.
pub(crate) fn clusters(settings: &Settings) -> Vec<Value> {
    settings
        .services
        .iter()
        .flat_map(|(service, upstream)| {
            let grpc = cluster(&grpc_name(service), &upstream.grpc, &http2());
            let http = upstream
                .http
                .as_ref()
                .map(|address| cluster(&http_name(service), address, &http1()));
            std::iter::once(grpc).chain(http)
        })
        .collect()
}

fn cluster(name: &str, address: &Address, protocol: &Value) -> Value {
    json!({
        "name": name,
        "type": if address.is_ip() { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": duration(CONNECT_TIMEOUT),
        "lb_policy": "LEAST_REQUEST",
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                json!({ "explicit_http_config": protocol }),
            ),
        },
        "circuit_breakers": {
            "thresholds": [{
                "max_requests": MAX_REQUESTS,
                "max_pending_requests": MAX_REQUESTS,
                "retry_budget": {
                    "budget_percent": { "value": RETRY_BUDGET_PERCENT },
                    "min_retry_concurrency": MIN_RETRIES,
                },
            }],
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{
                "lb_endpoints": [{ "endpoint": { "address": socket_address(address) } }],
            }],
        },
    })
}

fn http2() -> Value {
    json!({
        "http2_protocol_options": {
            "connection_keepalive": {
                "interval": seconds(KEEPALIVE_INTERVAL_SECONDS),
                "timeout": seconds(KEEPALIVE_TIMEOUT_SECONDS),
            },
        },
    })
}

fn http1() -> Value {
    json!({ "http_protocol_options": {} })
}
