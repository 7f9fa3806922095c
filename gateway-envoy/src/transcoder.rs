//! REST to gRPC and back, by the routes of the contract.
//!
//! JSON keeps the contract's field names, prints fields that are zero, enums
//! by name and 64-bit integers as strings. An error of a service becomes
//! google.rpc.Status in JSON; the descriptors hold the types of its details.
//!
//! An RPC that streams `google.api.HttpBody` answers a REST caller with the
//! bytes themselves as they come, however many. After the first of them an error
//! can only end the answer, so such a file says itself when it is whole.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::contract::Rpc;
use crate::envoy::extension;
use crate::settings::Limits;

/// The filter's name in the chain and in routes.
pub(crate) const NAME: &str = "envoy.filters.http.grpc_json_transcoder";

/// The filter, for the services that have routed RPCs.
pub(crate) fn filter(rpcs: &[Rpc], descriptors: &Path, limits: &Limits) -> Value {
    let services: BTreeSet<&str> = rpcs
        .iter()
        .filter(|rpc| rpc.is_routed())
        .map(|rpc| rpc.service_name.as_str())
        .collect();
    extension(
        NAME,
        "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        json!({
            "proto_descriptor": descriptors.display().to_string(),
            "services": services,
            "convert_grpc_status": true,
            "print_options": {
                "always_print_primitive_fields": true,
                "preserve_proto_field_names": true,
                // A stream is a line of JSON a message, readable as it comes.
                "stream_newline_delimited": true,
            },
            "request_validation_options": {
                "reject_unknown_method": true,
                "reject_unknown_query_parameters": true,
                "reject_binding_body_field_collisions": true,
            },
            "max_request_body_size": limits.request_bytes,
            "max_response_body_size": limits.response_bytes,
        }),
    )
}
