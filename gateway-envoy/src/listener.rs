//! The front door: one port for REST, gRPC and gRPC-Web, and what it bears.

use std::path::Path;

use serde_json::{Value, json};

use crate::contract::Rpc;
use crate::envoy::{extension, seconds, socket_address, typed};
use crate::settings::Settings;
use crate::{access_log, cors, filters, local_replies, routes};

const CONNECTION_IDLE_SECONDS: u64 = 300;
const HEADERS_TIMEOUT_SECONDS: u64 = 10;
/// How long the whole of a request may take to arrive.
const REQUEST_TIMEOUT_SECONDS: u64 = 30;
/// Longer than the longest deadline the contract allows.
const STREAM_IDLE_SECONDS: u64 = 90;
const MAX_HEADERS: u32 = 64;
const MAX_HEADERS_KB: u32 = 16;
const MAX_CONCURRENT_STREAMS: u32 = 256;
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Room for a body of the largest size and what is read with it.
const BUFFER_HEADROOM_BYTES: u32 = 64 * 1024;

/// The listener.
pub(crate) fn listener(settings: &Settings, rpcs: &[Rpc], descriptors: &Path) -> Value {
    let largest_body = settings.limits.request_bytes.get();
    json!({
        "name": "edge",
        "address": socket_address(&settings.listen),
        "per_connection_buffer_limit_bytes": largest_body.saturating_add(BUFFER_HEADROOM_BYTES),
        "filter_chains": [{ "filters": [connection_manager(settings, rpcs, descriptors)] }],
    })
}

fn connection_manager(settings: &Settings, rpcs: &[Rpc], descriptors: &Path) -> Value {
    extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "edge",
            "codec_type": "AUTO",
            "server_name": "bursar",

            // Who calls: the peer, or what the trusted proxies say. No address
            // is trusted for being private.
            "use_remote_address": true,
            "xff_num_trusted_hops": settings.trusted_proxy_hops,
            "internal_address_config": { "unix_sockets": false },

            // The caller's id of the request is kept and answered.
            "generate_request_id": true,
            "preserve_external_request_id": true,
            "always_set_request_id_in_response": true,
            "early_header_mutation_extensions": [strip_inner_headers()],

            // Paths that mean the same look the same.
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",

            "max_request_headers_kb": MAX_HEADERS_KB,
            "request_headers_timeout": seconds(HEADERS_TIMEOUT_SECONDS),
            "request_timeout": seconds(REQUEST_TIMEOUT_SECONDS),
            "stream_idle_timeout": seconds(STREAM_IDLE_SECONDS),
            "common_http_protocol_options": {
                "idle_timeout": seconds(CONNECTION_IDLE_SECONDS),
                "max_headers_count": MAX_HEADERS,
                "headers_with_underscores_action": "REJECT_REQUEST",
            },
            "http2_protocol_options": {
                "max_concurrent_streams": MAX_CONCURRENT_STREAMS,
                "initial_stream_window_size": STREAM_WINDOW_BYTES,
                "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
            },

            "access_log": access_log::loggers(&settings.access_log),
            "local_reply_config": local_replies::config(rpcs, &settings.rate_limits),
            "http_filters": filters::chain(settings, rpcs, descriptors),
            "route_config": {
                "name": "edge",
                "virtual_hosts": [{
                    "name": "api",
                    "domains": ["*"],
                    "typed_per_filter_config": { cors::NAME: cors::policy(&settings.cors, rpcs) },
                    "routes": routes::routes(settings, rpcs),
                }],
            },
        }),
    )
}

/// Headers that mean something inside are never taken from outside.
fn strip_inner_headers() -> Value {
    let remove =
        |prefix: &str| json!({ "remove_on_match": { "key_matcher": { "prefix": prefix } } });
    let message = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
    json!({
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(message, json!({
            "mutations": [remove("x-bursar-"), remove("x-envoy-")],
        })),
    })
}
