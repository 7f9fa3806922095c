//! An event as an entry of a stream: CloudEvents 1.0 in the protobuf event format
//! (`io.cloudevents.v1.CloudEvent`), in the entry's only field, `cloudevent`.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/protobuf-format.md>.
//! Redis Streams have no binding of their own. A field an attribute, as headers would
//! have it, made Redis, the relay and the consumers spend most of their time on some
//! thirty little strings an event. The data is the event's message as an `Any`, which
//! says which message it is.

use std::collections::BTreeMap;
use std::str::FromStr;

use bursar_contracts::instant::{instant, timestamp};
use prost::Message;
use prost_types::{Any, Timestamp};
use redis::Value;
use redis::streams::StreamId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::received::Received;

/// The entry's field.
pub(crate) const FIELD: &str = "cloudevent";

const SPEC_VERSION: &str = "1.0";
const TYPE_URL_PREFIX: &str = "type.googleapis.com/";

/// Why an entry of a stream is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    /// A part is absent.
    #[error("the event has no {0}")]
    Missing(&'static str),
    /// A part has a value that it cannot have.
    #[error("the {0} is malformed")]
    Malformed(&'static str),
}

/// What of `io.cloudevents.v1.CloudEvent` an event of ours has.
#[derive(Clone, PartialEq, Message)]
struct CloudEvent {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    source: String,
    #[prost(string, tag = "3")]
    spec_version: String,
    #[prost(string, tag = "4")]
    kind: String,
    #[prost(btree_map = "string, message", tag = "5")]
    attributes: BTreeMap<String, Attribute>,
    #[prost(message, optional, tag = "8")]
    proto_data: Option<Any>,
}

/// The kinds of `CloudEventAttributeValue` that its attributes have: one of them.
#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, optional, tag = "3")]
    text: Option<String>,
    #[prost(message, optional, tag = "7")]
    time: Option<Timestamp>,
}

impl Attribute {
    fn of(text: impl ToString) -> Self {
        Self {
            text: Some(text.to_string()),
            time: None,
        }
    }
}

/// An event as the value of its entry's field.
pub(crate) fn encode(event: &Received) -> Vec<u8> {
    let time = Attribute {
        text: None,
        time: Some(timestamp(event.occurred_at)),
    };
    let mut attributes = BTreeMap::from(
        [
            ("subject", Attribute::of(&event.subject)),
            ("time", time),
            ("tenantid", Attribute::of(&event.tenant)),
            ("aggregatekind", Attribute::of(&event.aggregate_kind)),
            ("aggregateid", Attribute::of(event.aggregate_id)),
            ("aggregateversion", Attribute::of(event.version)),
            ("actor", Attribute::of(&event.actor)),
            ("correlationid", Attribute::of(&event.correlation_id)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Some(traceparent) = &event.traceparent {
        attributes.insert("traceparent".to_owned(), Attribute::of(traceparent));
    }
    let cloud_event = CloudEvent {
        id: event.id.to_string(),
        source: event.source.clone(),
        spec_version: SPEC_VERSION.to_owned(),
        kind: event.kind.clone(),
        attributes,
        proto_data: Some(Any {
            type_url: format!("{TYPE_URL_PREFIX}{}", event.schema),
            value: event.data.clone(),
        }),
    };
    cloud_event.encode_to_vec()
}

/// The value of an entry's field.
pub(crate) fn bytes(entry: &StreamId) -> Option<&[u8]> {
    match entry.map.get(FIELD) {
        Some(Value::BulkString(bytes)) => Some(bytes),
        Some(_) | None => None,
    }
}

/// Reads an event from the value of its entry's field.
pub(crate) fn decode(bytes: &[u8]) -> Result<Received, EnvelopeError> {
    let event = CloudEvent::decode(bytes).map_err(|_| EnvelopeError::Malformed(FIELD))?;
    if event.spec_version != SPEC_VERSION {
        return Err(EnvelopeError::Malformed("specversion"));
    }
    let data = event.proto_data.ok_or(EnvelopeError::Missing("data"))?;
    let schema = data.type_url.strip_prefix(TYPE_URL_PREFIX);
    let schema = schema.ok_or(EnvelopeError::Malformed("type of the data"))?;
    let mut attributes = Attributes(event.attributes);
    let aggregate_id = attributes.text("aggregateid")?;
    let version = attributes.text("aggregateversion")?;
    Ok(Received {
        id: parse("id", &event.id)?,
        source: storable("source", event.source)?,
        kind: storable("type", event.kind)?,
        tenant: attributes.text("tenantid")?,
        aggregate_kind: attributes.text("aggregatekind")?,
        aggregate_id: parse::<Uuid>("aggregateid", &aggregate_id)?,
        subject: attributes.text("subject")?,
        version: parse("aggregateversion", &version)?,
        schema: storable("type of the data", schema.to_owned())?,
        data: data.value,
        actor: attributes.text("actor")?,
        correlation_id: attributes.text("correlationid")?,
        traceparent: match attributes.0.contains_key("traceparent") {
            true => Some(attributes.text("traceparent")?),
            false => None,
        },
        occurred_at: attributes.time("time")?,
    })
}

/// The attributes that were not read yet.
struct Attributes(BTreeMap<String, Attribute>);

impl Attributes {
    fn take(&mut self, name: &'static str) -> Result<Attribute, EnvelopeError> {
        self.0.remove(name).ok_or(EnvelopeError::Missing(name))
    }

    fn text(&mut self, name: &'static str) -> Result<String, EnvelopeError> {
        let text = self.take(name)?.text;
        storable(name, text.ok_or(EnvelopeError::Malformed(name))?)
    }

    fn time(&mut self, name: &'static str) -> Result<OffsetDateTime, EnvelopeError> {
        let time = self.take(name)?.time;
        time.and_then(|time| instant(&time))
            .ok_or(EnvelopeError::Malformed(name))
    }
}

/// PostgreSQL's text cannot hold NUL.
fn storable(name: &'static str, text: String) -> Result<String, EnvelopeError> {
    if text.contains('\0') {
        return Err(EnvelopeError::Malformed(name));
    }
    Ok(text)
}

fn parse<T: FromStr>(name: &'static str, text: &str) -> Result<T, EnvelopeError> {
    text.parse().map_err(|_| EnvelopeError::Malformed(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::Duration;

    fn received() -> impl Strategy<Value = Received> {
        let ids = (any::<u128>(), any::<u128>(), 1..=i64::MAX);
        let names = proptest::collection::vec("[a-z._]{1,40}", 7);
        let trace = proptest::option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-01");
        let data = proptest::collection::vec(any::<u8>(), 0..300);
        let micros = 0..253_000_000_000_000_000_i64;
        (ids, names, trace, data, micros).prop_map(
            |((id, aggregate_id, version), names, traceparent, data, micros)| {
                let mut names = names.into_iter();
                let mut name = || names.next().expect("there are 7");
                Received {
                    id: Uuid::from_u128(id),
                    source: name(),
                    kind: name(),
                    tenant: name(),
                    aggregate_kind: name(),
                    aggregate_id: Uuid::from_u128(aggregate_id),
                    subject: name(),
                    version,
                    schema: name(),
                    data,
                    actor: name(),
                    correlation_id: "c-1".to_owned(),
                    traceparent,
                    occurred_at: OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros),
                }
            },
        )
    }

    proptest! {
        /// Whatever an event holds, it comes out of its field as it went in.
        #[test]
        fn decode_reverses_encode(event in received()) {
            prop_assert_eq!(decode(&encode(&event)), Ok(event));
        }

        /// An event without one of its parts is refused by that part's name, and so is
        /// one with a text that PostgreSQL cannot hold.
        #[test]
        fn decode_names_what_is_wrong(event in received(), at in 0_usize..9) {
            let whole = CloudEvent::decode(&*encode(&event)).expect("it is one");
            let names: Vec<String> = whole.attributes.keys().cloned().collect();
            let name = &names[at % names.len()];
            let mut lacking = whole.clone();
            lacking.attributes.remove(name);
            match decode(&lacking.encode_to_vec()) {
                Ok(_) => prop_assert_eq!(name, "traceparent"),
                Err(EnvelopeError::Missing(missing)) => prop_assert_eq!(missing, name),
                Err(other) => prop_assert!(false, "{other:?}"),
            }
            let mut foul = whole.clone();
            foul.attributes.insert(name.clone(), Attribute::of("a\0b"));
            match decode(&foul.encode_to_vec()) {
                Err(EnvelopeError::Malformed(malformed)) => prop_assert_eq!(malformed, name),
                other => prop_assert!(false, "{other:?}"),
            }
            let bare = CloudEvent { proto_data: None, ..whole };
            prop_assert_eq!(decode(&bare.encode_to_vec()), Err(EnvelopeError::Missing("data")));
        }

        /// Rubbish is an error and never a panic.
        #[test]
        fn decode_refuses_rubbish(event in received(), at: usize, byte: u8, rubbish: Vec<u8>) {
            let mut bytes = encode(&event);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&bytes);
            prop_assert!(decode(&bytes[..at]).is_err());
            prop_assert!(decode(&rubbish).is_err());
        }
    }

    /// It is what others read as a CloudEvent: the bytes follow the published numbers of
    /// the fields.
    #[test]
    fn the_format_is_the_published_one() {
        let event = Received {
            id: Uuid::nil(),
            source: "bursar.wallet".to_owned(),
            kind: "wallet.created".to_owned(),
            tenant: "default".to_owned(),
            aggregate_kind: "wallet".to_owned(),
            aggregate_id: Uuid::nil(),
            subject: "wal_1".to_owned(),
            version: 1,
            schema: "bursar.wallet.v1.WalletCreated".to_owned(),
            data: vec![1, 2],
            actor: "usr_1".to_owned(),
            correlation_id: "c-1".to_owned(),
            traceparent: None,
            occurred_at: OffsetDateTime::UNIX_EPOCH + Duration::seconds(1),
        };
        let bytes = encode(&event);
        let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(contains(b"\x0a\x2400000000-0000-0000-0000-000000000000"));
        assert!(contains(
            b"\x12\x0dbursar.wallet\x1a\x031.0\x22\x0ewallet.created"
        ));
        assert!(contains(b"\x0a\x07subject\x12\x07\x1a\x05wal_1"));
        assert!(contains(b"\x0a\x04time\x12\x04\x3a\x02\x08\x01"));
        let data = b"type.googleapis.com/bursar.wallet.v1.WalletCreated\x12\x02\x01\x02";
        assert!(contains(data));
    }
}
