//! The few shapes that recur all over an Envoy configuration.

use std::time::Duration;

use serde_json::{Value, json};

use crate::settings::Address;

/// The namespace of our own keys in route metadata.
pub(crate) const METADATA: &str = "bursar";

/// An extension's configuration with its type.
pub(crate) fn typed(message: &str, mut config: Value) -> Value {
    let object = config
        .as_object_mut()
        .expect("an extension's configuration is an object");
    object.insert(
        "@type".to_owned(),
        json!(format!("type.googleapis.com/{message}")),
    );
    config
}

/// A filter or another named extension.
pub(crate) fn extension(name: &str, message: &str, config: Value) -> Value {
    json!({ "name": name, "typed_config": typed(message, config) })
}

/// A duration in protobuf's JSON form, to the millisecond.
pub(crate) fn duration(duration: Duration) -> Value {
    json!(format!(
        "{}.{:03}s",
        duration.as_secs(),
        duration.subsec_millis()
    ))
}

/// A duration of whole seconds.
pub(crate) fn seconds(seconds: u64) -> Value {
    duration(Duration::from_secs(seconds))
}

/// A socket address.
pub(crate) fn socket_address(address: &Address) -> Value {
    json!({ "socket_address": { "address": address.host(), "port_value": address.port() } })
}

/// A header that replaces one of the same name.
pub(crate) fn set_header(name: &str, value: &str) -> Value {
    json!({
        "header": { "key": name, "value": value },
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    })
}

/// A header that yields to one of the same name.
pub(crate) fn default_header(name: &str, value: &str) -> Value {
    json!({
        "header": { "key": name, "value": value },
        "append_action": "ADD_IF_ABSENT",
    })
}
