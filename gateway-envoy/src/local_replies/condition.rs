//! When a mapper applies, in the terms of Envoy's access log filters.

use serde_json::{Value, json};

use crate::envoy::extension;

/// Set by the transcoder, so a request that has it came by REST, whatever its
/// content type has become. Copies from outside are stripped.
const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// Numbers may be changed at run time under this key; nobody does.
const RUNTIME_KEY: &str = "gateway.local_reply";

/// All of them hold.
pub(super) fn all(conditions: &[Value]) -> Value {
    match conditions {
        [one] => one.clone(),
        several => json!({ "and_filter": { "filters": several } }),
    }
}

/// Envoy chose this status.
pub(super) fn status_is(status: u16) -> Value {
    status_compares("EQ", status)
}

/// Envoy chose this status or a higher one.
pub(super) fn status_is_at_least(status: u16) -> Value {
    status_compares("GE", status)
}

/// The request has this header.
pub(super) fn has_header(name: &str) -> Value {
    header(&json!({ "name": name, "present_match": true }))
}

/// The request was transcoded.
pub(super) fn was_transcoded() -> Value {
    has_header(ORIGINAL_PATH)
}

/// The caller speaks gRPC or gRPC-Web.
pub(super) fn is_grpc() -> Value {
    let content_type = json!({
        "name": "content-type",
        "string_match": { "prefix": "application/grpc" },
    });
    let by_rest = json!({ "name": ORIGINAL_PATH, "present_match": true, "invert_match": true });
    all(&[header(&content_type), header(&by_rest)])
}

/// The path is one of these.
pub(super) fn path_is_one_of(paths: &[String]) -> Value {
    let is = |path| header(&json!({ "name": ":path", "string_match": { "exact": path } }));
    match paths {
        [one] => is(one),
        several => {
            json!({ "or_filter": { "filters": several.iter().map(is).collect::<Vec<_>>() } })
        }
    }
}

/// A token could not be judged because the key set was never fetched. A key id
/// that the set lacks is another matter: that is the token's fault.
pub(super) fn keys_are_missing() -> Value {
    let expression = "response.code_details.startsWith('jwt_authn_access_denied{Jwks') \
                      && !response.code_details.contains('match_kid')";
    json!({
        "extension_filter": extension(
            "envoy.access_loggers.extension_filters.cel",
            "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            json!({ "expression": expression }),
        ),
    })
}

fn status_compares(operator: &str, status: u16) -> Value {
    let value = json!({ "default_value": status, "runtime_key": RUNTIME_KEY });
    json!({ "status_code_filter": { "comparison": { "op": operator, "value": value } } })
}

fn header(matcher: &Value) -> Value {
    json!({ "header_filter": { "header": matcher } })
}
