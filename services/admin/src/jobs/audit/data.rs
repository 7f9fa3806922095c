//! The data of an event as JSON, by the contract's own descriptors: whatever
//! message the contract has can be audited without code of its own here.
//!
//! What the contract calls personal or secret is left out, at any depth. So is
//! what this version of the contract does not know, since nobody can tell what
//! it is.

use std::collections::HashSet;
use std::sync::LazyLock;

use bursar_contracts::policy;
use prost_reflect::{DynamicMessage, FieldDescriptor, SerializeOptions, Value};

/// Why an event's data cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataError {
    /// This version of the contract has no such message.
    #[error("the contract has no message {name}")]
    UnknownMessage {
        /// The message's full name.
        name: String,
    },
    /// The bytes are not such a message.
    #[error("the data is no {name}")]
    Malformed {
        /// The message's full name.
        name: String,
        /// What the decoder met.
        source: prost::DecodeError,
    },
    /// The message has no JSON form, such as a time out of range.
    #[error("the data has no JSON form")]
    NoJson(#[from] serde_json::Error),
}

/// The full names of all fields of the contract that are personal or secret.
static WITHHELD: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let pool = policy::pool();
    let option = pool
        .get_extension_by_name("bursar.options.v1.field")
        .expect("the contract defines the option");
    let is_withheld = |field: &FieldDescriptor| {
        let options = field.options();
        let value = options.get_extension(&option);
        let policy = value.as_message().expect("the option is a message");
        policy.fields().any(|(rule, value)| {
            matches!(rule.name(), "personal" | "secret") && value.as_bool() == Some(true)
        })
    };
    pool.all_messages()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(is_withheld)
        .map(|field| field.full_name().to_owned())
        .collect()
});

/// The JSON object of a message of the contract: fields by their proto names,
/// 64-bit integers as text, fields that have their default left out.
pub(super) fn to_json(name: &str, bytes: &[u8]) -> Result<String, DataError> {
    let descriptor =
        policy::pool()
            .get_message_by_name(name)
            .ok_or_else(|| DataError::UnknownMessage {
                name: name.to_owned(),
            })?;
    let mut message =
        DynamicMessage::decode(descriptor, bytes).map_err(|source| DataError::Malformed {
            name: name.to_owned(),
            source,
        })?;
    withhold(&mut message);
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(true)
        .use_proto_field_name(true)
        .skip_default_fields(true);
    let mut json = Vec::new();
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)?;
    Ok(String::from_utf8(json).expect("serde_json writes UTF-8"))
}

/// Clears the personal and secret fields of a message and of all within it.
fn withhold(message: &mut DynamicMessage) {
    let withheld: Vec<FieldDescriptor> = message
        .fields()
        .map(|(field, _)| field)
        .filter(|field| WITHHELD.contains(field.full_name()))
        .collect();
    for field in &withheld {
        message.clear_field(field);
    }
    for (_, value) in message.fields_mut() {
        withhold_within(value);
    }
}

fn withhold_within(value: &mut Value) {
    match value {
        Value::Message(message) => withhold(message),
        Value::List(values) => values.iter_mut().for_each(withhold_within),
        Value::Map(entries) => entries.values_mut().for_each(withhold_within),
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U32(_)
        | Value::U64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_contracts::admin::v1::{ListTicketsResponse, Ticket, TicketCreated};
    use bursar_contracts::transaction::v1::{TransactionInitiated, TransactionType};
    use bursar_contracts::r#type::v1::Money;
    use prost::Message;
    use serde_json::json;

    fn parsed(name: &str, bytes: &[u8]) -> serde_json::Value {
        let text = to_json(name, bytes).expect("the message has a JSON form");
        serde_json::from_str(&text).expect("it is JSON")
    }

    /// Fields have their proto names, enums their names, 64-bit integers are text.
    #[test]
    fn data_is_written_as_the_contract_names_it() {
        let data = TransactionInitiated {
            r#type: TransactionType::Transfer.into(),
            amount: Some(Money {
                currency_code: "EUR".to_owned(),
                minor_units: 1000,
            }),
            from_wallet_id: "wal_1".to_owned(),
            ..TransactionInitiated::default()
        };
        assert_eq!(
            parsed(
                "bursar.transaction.v1.TransactionInitiated",
                &data.encode_to_vec()
            ),
            json!({
                "type": "TRANSACTION_TYPE_TRANSFER",
                "amount": {"currency_code": "EUR", "minor_units": "1000"},
                "from_wallet_id": "wal_1",
            })
        );
        assert_eq!(
            parsed(
                "bursar.admin.v1.TicketCreated",
                &TicketCreated::default().encode_to_vec()
            ),
            json!({})
        );
    }

    /// Personal fields are absent, inside lists and messages too.
    #[test]
    fn personal_fields_are_left_out_at_any_depth() {
        let ticket = Ticket {
            ticket_id: "tkt_1".to_owned(),
            subject: "my address".to_owned(),
            description: "1 Road".to_owned(),
            resolution: "noted".to_owned(),
            ..Ticket::default()
        };
        let list = ListTicketsResponse {
            tickets: vec![ticket.clone(), ticket],
            next_page_token: "t".to_owned(),
        };
        assert_eq!(
            parsed("bursar.admin.v1.ListTicketsResponse", &list.encode_to_vec()),
            json!({
                "tickets": [{"ticket_id": "tkt_1"}, {"ticket_id": "tkt_1"}],
                "next_page_token": "t",
            })
        );
    }

    /// Fields that this version does not know are left out, and no error.
    #[test]
    fn unknown_fields_are_left_out() {
        let mut bytes = TicketCreated {
            ticket_id: "tkt_1".to_owned(),
            ..TicketCreated::default()
        }
        .encode_to_vec();
        // Field 100, length-delimited, "x".
        bytes.extend_from_slice(&[0xa2, 0x06, 0x01, b'x']);
        assert_eq!(
            parsed("bursar.admin.v1.TicketCreated", &bytes),
            json!({"ticket_id": "tkt_1"})
        );
    }

    /// What is not of the contract is an error that says so.
    #[test]
    fn what_the_contract_does_not_have_is_refused() {
        assert!(matches!(
            to_json("bursar.admin.v1.Nothing", &[]),
            Err(DataError::UnknownMessage { .. })
        ));
        assert!(matches!(
            to_json("bursar.admin.v1.TicketCreated", &[0xff]),
            Err(DataError::Malformed { .. })
        ));
    }
}
