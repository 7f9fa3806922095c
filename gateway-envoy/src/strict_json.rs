//! The strictness that Envoy's transcoder lacks: it drops unknown fields of a
//! JSON body without a word, takes the last of two, and does not always name
//! the field it refuses. A REST caller must learn of a misspelt field.
//!
//! A Lua filter that stands before the transcoder reads the request against
//! tables made here from the descriptors. It is in the filter chain of REST
//! calls only. It keeps to what the JSON mapping of proto3 says of types and
//! ranges; the bounds of the contract are the services' business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use crate::contract::{Binding, Body, Rpc};
use crate::envoy::typed;

/// The filter's name in the chain and in routes.
pub(crate) const NAME: &str = "envoy.filters.http.lua";

/// Request headers by which the checker says what it refused: the field's path,
/// empty for the body as a whole, and why.
pub(crate) const REFUSED_FIELD: &str = "x-bursar-refused-field";
/// See [`REFUSED_FIELD`].
pub(crate) const REFUSED_BECAUSE: &str = "x-bursar-refused-because";

const CHECKER: &str = include_str!("strict_json.lua");

/// The type of a body that is no JSON.
const RAW_BODY: &str = "google.api.HttpBody";

/// Types whose JSON form is a string, and the checker's name for each.
const TEXT_TYPES: [(&str, &str); 3] = [
    ("google.protobuf.Duration", "string"),
    ("google.protobuf.FieldMask", "string"),
    ("google.protobuf.Timestamp", "instant"),
];

/// The filter, absent from every chain unless a route asks for it.
pub(crate) fn filter(rpcs: &[Rpc]) -> Value {
    json!({
        "name": NAME,
        "disabled": true,
        "typed_config": typed("envoy.extensions.filters.http.lua.v3.Lua", json!({
            "default_source_code": { "inline_string": source(rpcs) },
        })),
    })
}

/// What a route of a REST call adds to its per-filter configuration.
pub(crate) fn per_route() -> Value {
    typed(
        "envoy.config.route.v3.FilterConfig",
        json!({
            "config": typed("envoy.extensions.filters.http.lua.v3.LuaPerRoute", json!({
                "filter_context": {},
            })),
        }),
    )
}

/// What a route of a REST call adds to its metadata.
pub(crate) fn route_metadata(rpc: &Rpc, binding: usize) -> Value {
    json!({ "call": call_name(rpc, binding) })
}

/// An RPC may have several bindings, with other bodies and queries.
fn call_name(rpc: &Rpc, binding: usize) -> String {
    format!("{}#{binding}", rpc.path)
}

/// The program: the tables, then the checker.
fn source(rpcs: &[Rpc]) -> String {
    let mut messages = BTreeMap::new();
    let mut calls = String::new();
    for rpc in rpcs.iter().filter(|rpc| rpc.is_routed()) {
        for (index, binding) in rpc.bindings.iter().enumerate() {
            let body = body_field(rpc, binding, &mut messages);
            let query = query_fields(rpc, binding);
            writeln!(
                calls,
                "[{}]={{{body}query={{{query}}}}},",
                quoted(&call_name(rpc, index))
            )
            .expect("writing to a string never fails");
        }
    }
    let messages: String = messages
        .iter()
        .map(|(name, fields)| format!("[{}]={{{fields}}},\n", quoted(name)))
        .collect();
    format!("local messages={{\n{messages}}}\nlocal calls={{\n{calls}}}\n\n{CHECKER}")
}

/// `body=<field>,`, or nothing for a call without a body, or with one that is
/// taken as it is.
fn body_field(rpc: &Rpc, binding: &Binding, messages: &mut BTreeMap<String, String>) -> String {
    match &binding.body {
        Body::None => String::new(),
        Body::Whole => {
            add_message(&rpc.input, messages);
            let name = quoted(rpc.input.full_name());
            format!("body={{kind=\"message\",message={name}}},")
        }
        Body::Field(name) => rpc
            .input
            .get_field_by_name(name)
            .filter(|field| !is_raw(field))
            .map(|field| {
                add_messages_of(&field, messages);
                format!("body={},", field_table(&field))
            })
            .unwrap_or_default(),
    }
}

fn is_raw(field: &FieldDescriptor) -> bool {
    let kind = field.kind();
    kind.as_message()
        .is_some_and(|message| message.full_name() == RAW_BODY)
}

/// The parameters that a call takes in its query: what is neither in its path
/// nor in its body.
fn query_fields(rpc: &Rpc, binding: &Binding) -> String {
    let is_elsewhere = |path: &str| {
        let in_body = match &binding.body {
            Body::None => false,
            Body::Whole => true,
            Body::Field(field) => path.split('.').next() == Some(field.as_str()),
        };
        in_body || binding.template.fields().iter().any(|field| field == path)
    };
    let mut parameters = Vec::new();
    add_parameters(&rpc.input, "", &mut BTreeSet::new(), &mut parameters);
    parameters
        .iter()
        .filter(|(path, _)| !is_elsewhere(path))
        .map(|(path, field)| format!("[{}]={field},", quoted(path)))
        .collect()
}

/// The scalar fields of a message, those of its messages by dotted paths.
fn add_parameters(
    message: &MessageDescriptor,
    prefix: &str,
    above: &mut BTreeSet<String>,
    parameters: &mut Vec<(String, String)>,
) {
    if !above.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        let path = format!("{prefix}{}", field.name());
        match field.kind() {
            Kind::Message(inner) if scalar_kind(&field).is_none() => {
                if !field.is_list() && !field.is_map() {
                    add_parameters(&inner, &format!("{path}."), above, parameters);
                }
            }
            _ => parameters.push((path, field_table(&field))),
        }
    }
    above.remove(message.full_name());
}

/// Adds a message and the messages of its fields.
fn add_message(message: &MessageDescriptor, messages: &mut BTreeMap<String, String>) {
    let name = message.full_name();
    if messages.contains_key(name) {
        return;
    }
    let fields = message
        .fields()
        .map(|field| {
            let table = field_table(&field);
            let proto_name = format!("[{}]={table},", quoted(field.name()));
            if field.json_name() == field.name() {
                proto_name
            } else {
                format!("{proto_name}[{}]={table},", quoted(field.json_name()))
            }
        })
        .collect();
    messages.insert(name.to_owned(), fields);
    for field in message.fields() {
        add_messages_of(&field, messages);
    }
}

fn add_messages_of(field: &FieldDescriptor, messages: &mut BTreeMap<String, String>) {
    if let Kind::Message(inner) = field.kind()
        && !field.is_map()
        && is_checked(&inner)
    {
        add_message(&inner, messages);
    }
}

/// Whether a message's fields are checked by name. The types of
/// google.protobuf have JSON forms of their own.
fn is_checked(message: &MessageDescriptor) -> bool {
    message.parent_file().package_name() != "google.protobuf"
}

/// A field as the checker knows it.
fn field_table(field: &FieldDescriptor) -> String {
    let name = quoted(field.name());
    let list = if field.is_list() { ",list=true" } else { "" };
    let kind = match field.kind() {
        _ if field.is_map() => "kind=\"any\"".to_owned(),
        Kind::Message(inner) if scalar_kind(field).is_none() => {
            if is_checked(&inner) {
                format!("kind=\"message\",message={}", quoted(inner.full_name()))
            } else {
                "kind=\"any\"".to_owned()
            }
        }
        Kind::Enum(values) => {
            let names: String = values
                .values()
                .map(|value| format!("{}=true,", value.name()))
                .collect();
            format!("kind=\"enum\",values={{{names}}}")
        }
        _ => format!("kind=\"{}\"", scalar_kind(field).unwrap_or("any")),
    };
    format!("{{name={name},{kind}{list}}}")
}

/// The checker's name for a scalar, or for a message that JSON writes as one.
fn scalar_kind(field: &FieldDescriptor) -> Option<&'static str> {
    match field.kind() {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Some("int32"),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Some("int64"),
        Kind::Uint32 | Kind::Fixed32 => Some("uint32"),
        Kind::Uint64 | Kind::Fixed64 => Some("uint64"),
        Kind::Bool => Some("bool"),
        Kind::String | Kind::Bytes => Some("string"),
        // A quoted NaN or Infinity is a number too; the transcoder decides.
        Kind::Double | Kind::Float => Some("any"),
        Kind::Enum(_) => Some("enum"),
        Kind::Message(message) => TEXT_TYPES
            .iter()
            .find(|(name, _)| *name == message.full_name())
            .map(|(_, kind)| *kind),
    }
}

/// A name of the contract as a Lua string. Names are ASCII letters, digits,
/// dots, underscores, slashes and `#`.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

#[cfg(test)]
mod tests {
    use bursar_contracts::policy::pool;

    use super::*;

    fn fields_of(message: &str) -> BTreeMap<String, String> {
        let message = pool().get_message_by_name(message).unwrap();
        let mut messages = BTreeMap::new();
        add_message(&message, &mut messages);
        messages
    }

    /// Each kind of field has the JSON form that proto3 gives it.
    #[test]
    fn fields_are_known_by_their_json_form() {
        let money = &fields_of("bursar.type.v1.Money")["bursar.type.v1.Money"];
        assert!(
            money.contains(r#"["minor_units"]={name="minor_units",kind="int64"}"#),
            "{money}"
        );
        assert!(
            money.contains(r#"["minorUnits"]={name="minor_units",kind="int64"}"#),
            "{money}"
        );
        let retry = &fields_of("google.rpc.RetryInfo")["google.rpc.RetryInfo"];
        assert!(
            retry.contains(r#"["retry_delay"]={name="retry_delay",kind="string"}"#),
            "{retry}"
        );
        let info = &fields_of("google.rpc.ErrorInfo")["google.rpc.ErrorInfo"];
        assert!(
            info.contains(r#"["metadata"]={name="metadata",kind="any"}"#),
            "{info}"
        );
        let request = fields_of("google.rpc.BadRequest");
        let violation =
            r#"kind="message",message="google.rpc.BadRequest.FieldViolation",list=true"#;
        assert!(
            request["google.rpc.BadRequest"].contains(violation),
            "{request:?}"
        );
        assert!(request.contains_key("google.rpc.BadRequest.FieldViolation"));
    }

    /// A list call takes in its query what its path does not carry.
    #[test]
    fn the_query_takes_the_rest() {
        let rpcs = crate::contract::rpcs().unwrap();
        let find = |name: &str| rpcs.iter().find(|rpc| rpc.path.ends_with(name)).unwrap();
        let entries = find("/ListEntries");
        let query = query_fields(entries, &entries.bindings[0]);
        assert!(
            query.contains(r#"["page_size"]={name="page_size",kind="int32"}"#),
            "{query}"
        );
        assert!(
            query.contains(r#"["recorded_from"]={name="recorded_from",kind="instant"}"#),
            "{query}"
        );
        assert!(
            query.contains(r#"["kinds"]={name="kinds",kind="enum""#),
            "{query}"
        );
        assert!(!query.contains("wallet_id"), "{query}");
        let transfer = find("/CreateTransfer");
        assert_eq!(query_fields(transfer, &transfer.bindings[0]), "");
    }
}
