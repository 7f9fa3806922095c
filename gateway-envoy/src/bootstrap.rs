//! The whole of Envoy's configuration.

use std::path::Path;

use serde_json::{Value, json};

use crate::clusters;
use crate::contract::Rpc;
use crate::envoy::{extension, socket_address};
use crate::listener::listener;
use crate::settings::{Limits, Settings};

/// Above this part of the memory, memory that is free is given back.
const SHRINK_AT: &str = "0.90";
/// Above this part, connections are no longer kept open for further requests.
const DISABLE_KEEPALIVE_AT: &str = "0.95";
/// Above this part, requests are answered 503.
const STOP_REQUESTS_AT: &str = "0.98";

/// The configuration.
pub(crate) fn bootstrap(settings: &Settings, rpcs: &[Rpc], descriptors: &Path) -> Value {
    let mut bootstrap = json!({
        "node": { "id": "bursar-gateway", "cluster": "bursar-gateway" },
        "overload_manager": overload_manager(&settings.limits),
        "static_resources": {
            "listeners": [listener(settings, rpcs, descriptors)],
            "clusters": clusters::clusters(settings),
        },
    });
    if let Some(admin) = &settings.admin {
        bootstrap["admin"] = json!({ "address": socket_address(admin) });
    }
    bootstrap
}

fn overload_manager(limits: &Limits) -> Value {
    const HEAP: &str = "envoy.resource_monitors.fixed_heap";
    let at = |action: &str, threshold: &str| {
        let value: Value = threshold.parse().expect("the thresholds above are numbers");
        json!({
            "name": format!("envoy.overload_actions.{action}"),
            "triggers": [{ "name": HEAP, "threshold": { "value": value } }],
        })
    };
    json!({
        "refresh_interval": "0.250s",
        "resource_monitors": [
            extension(
                HEAP,
                "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                json!({ "max_heap_size_bytes": limits.heap_bytes }),
            ),
            extension(
                "envoy.resource_monitors.global_downstream_max_connections",
                "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                json!({ "max_active_downstream_connections": limits.connections }),
            ),
        ],
        "actions": [
            at("shrink_heap", SHRINK_AT),
            at("disable_http_keepalive", DISABLE_KEEPALIVE_AT),
            at("stop_accepting_requests", STOP_REQUESTS_AT),
        ],
    })
}
