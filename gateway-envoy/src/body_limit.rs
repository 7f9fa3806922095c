//! How large a request's body may be, by REST and gRPC alike.
//!
//! The filter for all requests counts without holding anything back, but knows
//! one number only. A route with a smaller number buffers, which is no loss
//! where bodies are that small; one whose body is a stream goes without.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use crate::envoy::{extension, typed};

/// The name of the filter for all requests.
pub(crate) const NAME: &str = "envoy.filters.http.body_size_limit";

/// The name of the filter that gives a route a smaller limit.
pub(crate) const PER_ROUTE_NAME: &str = "envoy.filters.http.buffer";

/// The filter for all requests.
pub(crate) fn filter(bytes: NonZeroU32) -> Value {
    extension(
        NAME,
        "envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit",
        json!({ "max_request_bytes": bytes }),
    )
}

/// The filter for routes with a smaller limit, absent from every chain unless
/// a route asks for it.
pub(crate) fn per_route_filter(bytes: NonZeroU32) -> Value {
    json!({
        "name": PER_ROUTE_NAME,
        "disabled": true,
        "typed_config": typed(
            "envoy.extensions.filters.http.buffer.v3.Buffer",
            json!({ "max_request_bytes": bytes }),
        ),
    })
}

/// What a route with a smaller limit adds to its per-filter configuration.
pub(crate) fn per_route(bytes: NonZeroU32) -> Value {
    typed(
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
        json!({ "buffer": { "max_request_bytes": bytes } }),
    )
}
