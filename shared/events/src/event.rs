//! An event as a service writes it.

use bursar_aip::id::TenantId;
use bursar_status::correlation;
use prost::Message;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::trace;

/// A message that an event can carry. Every message of the contract's
/// `events.proto` files implements it; the build writes the implementations.
pub trait EventData: Message + Default {
    /// The full name of the message, such as `bursar.wallet.v1.WalletCreated`.
    const SCHEMA: &'static str;
}

include!(concat!(env!("OUT_DIR"), "/event_data.rs"));

/// What an event happened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// What it is, such as `wallet`.
    pub kind: &'static str,
    /// Its id.
    pub id: Uuid,
    /// Its id as text, such as `wal_…`.
    pub subject: String,
}

/// An event that is to be written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Its own id, a UUIDv7. Consumers know an event again by it.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// What it happened to.
    pub aggregate: Aggregate,
    /// Its number among the aggregate's events: 1, 2, 3 and so on.
    pub version: i64,
    /// What happened, such as `wallet.credited`.
    pub kind: &'static str,
    /// The full name of the protobuf message in `data`.
    pub schema: &'static str,
    /// The message, encoded.
    pub data: Vec<u8>,
    /// Who caused it, such as `usr_…` or `service:transaction`.
    pub actor: String,
    /// What joins it with the request that caused it.
    pub correlation_id: String,
    /// The W3C trace context of the current span, when it is traced.
    pub traceparent: Option<String>,
    /// When it happened.
    pub occurred_at: OffsetDateTime,
}

impl Event {
    /// Makes an event with a new id. The correlation id and the trace context
    /// are those of the request that is being served.
    ///
    /// Versions of one aggregate run 1, 2, 3 without a gap. The relay holds an
    /// event back until the one before it is committed, so a missing version
    /// stops the aggregate.
    pub fn new<M: EventData>(
        kind: &'static str,
        aggregate: Aggregate,
        version: i64,
        data: &M,
        actor: String,
        tenant: TenantId,
        occurred_at: OffsetDateTime,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            tenant,
            aggregate,
            version,
            kind,
            schema: M::SCHEMA,
            data: data.encode_to_vec(),
            actor,
            correlation_id: correlation::current().to_string(),
            traceparent: trace::current_traceparent(),
            occurred_at,
        }
    }
}
