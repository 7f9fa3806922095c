//! An event as an entry of a stream: CloudEvents 1.0 in binary mode, one field
//! an attribute, the message in `data`.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>. Redis
//! Streams have no binding of their own, so the names follow that of Kafka:
//! every attribute starts with `ce_`. The schema is the message's full name as
//! a URI, `proto:bursar.wallet.v1.WalletCreated`.

use std::borrow::Cow;
use std::str::FromStr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::received::Received;

const SPEC_VERSION: &str = "1.0";
const CONTENT_TYPE: &str = "application/protobuf";
const SCHEMA_SCHEME: &str = "proto:";

/// Why an entry of a stream is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    /// A field is absent.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field has a value that it cannot have.
    #[error("the field {0} is malformed")]
    Malformed(&'static str),
}

/// A field of a stream's entry: its name and its value.
pub(crate) type Field<'a> = (&'static str, Cow<'a, [u8]>);

/// The fields of an event's entry.
pub(crate) fn encode(event: &Received) -> Vec<Field<'_>> {
    let time = event
        .occurred_at
        .format(&Rfc3339)
        .expect("the log takes times of the years 1970 to 9998 only");
    let mut fields: Vec<Field<'_>> = vec![
        ("ce_specversion", text(SPEC_VERSION)),
        ("ce_id", owned(event.id)),
        ("ce_source", text(&event.source)),
        ("ce_type", text(&event.kind)),
        ("ce_subject", text(&event.subject)),
        ("ce_time", Cow::Owned(time.into_bytes())),
        ("ce_datacontenttype", text(CONTENT_TYPE)),
        (
            "ce_dataschema",
            owned(format_args!("{SCHEMA_SCHEME}{}", event.schema)),
        ),
        ("ce_tenantid", text(&event.tenant)),
        ("ce_aggregatekind", text(&event.aggregate_kind)),
        ("ce_aggregateid", owned(event.aggregate_id)),
        ("ce_aggregateversion", owned(event.version)),
        ("ce_actor", text(&event.actor)),
        ("ce_correlationid", text(&event.correlation_id)),
    ];
    if let Some(traceparent) = &event.traceparent {
        fields.push(("ce_traceparent", text(traceparent)));
    }
    fields.push(("data", Cow::Borrowed(&event.data)));
    fields
}

/// Reads an event from the fields of its entry, which `field` looks up.
pub(crate) fn decode<'a>(
    field: impl Fn(&'static str) -> Option<&'a [u8]>,
) -> Result<Received, EnvelopeError> {
    let bytes = |name| field(name).ok_or(EnvelopeError::Missing(name));
    let text = |name| {
        let bytes = bytes(name)?;
        match std::str::from_utf8(bytes) {
            // PostgreSQL's text cannot hold NUL.
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            Ok(_) | Err(_) => Err(EnvelopeError::Malformed(name)),
        }
    };
    expect("ce_specversion", &text("ce_specversion")?, SPEC_VERSION)?;
    expect(
        "ce_datacontenttype",
        &text("ce_datacontenttype")?,
        CONTENT_TYPE,
    )?;
    let time = text("ce_time")?;
    let schema = text("ce_dataschema")?;
    Ok(Received {
        id: parse("ce_id", &text("ce_id")?)?,
        source: text("ce_source")?,
        kind: text("ce_type")?,
        tenant: text("ce_tenantid")?,
        aggregate_kind: text("ce_aggregatekind")?,
        aggregate_id: parse::<Uuid>("ce_aggregateid", &text("ce_aggregateid")?)?,
        subject: text("ce_subject")?,
        version: parse("ce_aggregateversion", &text("ce_aggregateversion")?)?,
        schema: schema
            .strip_prefix(SCHEMA_SCHEME)
            .ok_or(EnvelopeError::Malformed("ce_dataschema"))?
            .to_owned(),
        data: bytes("data")?.to_vec(),
        actor: text("ce_actor")?,
        correlation_id: text("ce_correlationid")?,
        traceparent: match field("ce_traceparent") {
            None => None,
            Some(_) => Some(text("ce_traceparent")?),
        },
        occurred_at: OffsetDateTime::parse(&time, &Rfc3339)
            .map_err(|_| EnvelopeError::Malformed("ce_time"))?,
    })
}

fn text(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

fn owned(value: impl ToString) -> Cow<'static, [u8]> {
    Cow::Owned(value.to_string().into_bytes())
}

fn parse<T: FromStr>(name: &'static str, text: &str) -> Result<T, EnvelopeError> {
    text.parse().map_err(|_| EnvelopeError::Malformed(name))
}

fn expect(name: &'static str, found: &str, expected: &str) -> Result<(), EnvelopeError> {
    if found == expected {
        Ok(())
    } else {
        Err(EnvelopeError::Malformed(name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use time::Duration;

    use super::*;

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

    fn fields(event: &Received) -> HashMap<&'static str, Vec<u8>> {
        encode(event)
            .into_iter()
            .map(|(name, value)| (name, value.into_owned()))
            .collect()
    }

    proptest! {
        /// Whatever an event holds, it comes out of its fields as it went in.
        #[test]
        fn decode_reverses_encode(event in received()) {
            let fields = fields(&event);
            let decoded = decode(|name| fields.get(name).map(Vec::as_slice));
            prop_assert_eq!(decoded, Ok(event));
        }

        /// An entry without one of its fields, or with rubbish in one, is an
        /// error and never a panic.
        #[test]
        fn decode_refuses_rubbish(event in received(), at in 0_usize..16, rubbish: Vec<u8>) {
            let mut fields = fields(&event);
            let name = *fields.keys().nth(at % fields.len()).expect("within");
            fields.remove(name);
            let decoded = decode(|name| fields.get(name).map(Vec::as_slice));
            if name == "ce_traceparent" {
                prop_assert!(decoded.is_ok());
            } else {
                prop_assert_eq!(decoded, Err(EnvelopeError::Missing(name)));
            }
            fields.insert(name, rubbish);
            let _ = decode(|name| fields.get(name).map(Vec::as_slice));
        }
    }
}
