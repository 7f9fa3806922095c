//! An event as a consumer receives it, and what a handler answers.

use std::error::Error;
use std::fmt;

use redis::streams::StreamId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::envelope;
use crate::event::EventData;

/// An event from a stream, or from the dead letters.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// Its id, the same at every delivery.
    pub id: Uuid,
    /// Who published it, such as `bursar.wallet`.
    pub source: String,
    /// What happened, such as `wallet.credited`.
    pub kind: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// What it happened to, such as `wallet`.
    pub aggregate_kind: String,
    /// Its id.
    pub aggregate_id: Uuid,
    /// Its id as text, such as `wal_…`.
    pub subject: String,
    /// The event's number among the aggregate's events, from 1.
    pub version: i64,
    /// The full name of the protobuf message in `data`.
    pub schema: String,
    /// The message, encoded.
    pub data: Vec<u8>,
    /// Who caused it, such as `usr_…` or `service:transaction`.
    pub actor: String,
    /// What joins it with the request that caused it.
    pub correlation_id: String,
    /// The W3C trace context of its writer, when that was traced.
    pub traceparent: Option<String>,
    /// When it happened.
    pub occurred_at: OffsetDateTime,
}

impl Received {
    /// The event that an entry of a stream holds, if it holds one.
    pub fn of_entry(entry: &StreamId) -> Option<Self> {
        envelope::bytes(entry).and_then(|bytes| envelope::decode(bytes).ok())
    }

    /// The event's message. Poison when it is another message or none at all:
    /// trying again would not help.
    pub fn decode<M: EventData>(&self) -> Result<M, HandlerError> {
        if self.schema != M::SCHEMA {
            return Err(HandlerError::poison(format!(
                "the event carries {}, not {}",
                self.schema,
                M::SCHEMA
            )));
        }
        M::decode(self.data.as_slice()).map_err(HandlerError::poison)
    }
}

/// Everything but the data and the actor, which stay out of logs.
impl fmt::Debug for Received {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Received")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("kind", &self.kind)
            .field("tenant", &self.tenant)
            .field("subject", &self.subject)
            .field("version", &self.version)
            .field("schema", &self.schema)
            .field("data_bytes", &self.data.len())
            .field("correlation_id", &self.correlation_id)
            .field("occurred_at", &self.occurred_at)
            .finish_non_exhaustive()
    }
}

type Cause = Box<dyn Error + Send + Sync>;

/// Why a handler could not handle an event. Its transaction is rolled back.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// It may work later: the event is tried again, and parked when it failed
    /// too often.
    #[error("{0}")]
    Retry(#[source] Cause),
    /// It will never work: the event is parked at once.
    #[error("{0}")]
    Poison(#[source] Cause),
}

impl HandlerError {
    /// It may work later.
    pub fn retry(cause: impl Into<Cause>) -> Self {
        Self::Retry(cause.into())
    }

    /// It will never work.
    pub fn poison(cause: impl Into<Cause>) -> Self {
        Self::Poison(cause.into())
    }
}

/// A database that fails may work later.
impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> Self {
        Self::retry(error)
    }
}
