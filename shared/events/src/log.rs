//! Writing to the event log.

mod batch;
mod read;

pub use self::batch::{BatchRow, append_locked, append_named};
pub use self::read::{Logged, of_aggregate};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::Event;

/// Writes events in the caller's transaction. They are published once it
/// commits.
///
/// Fails with a unique violation of `events_aggregate_version` when another
/// transaction wrote the same version of an aggregate.
pub async fn append(connection: &mut PgConnection, events: &[Event]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(events);
    // Sorted, because sequence numbers are drawn in the order of the rows: the
    // relay then meets an aggregate's events in the order of their versions.
    sqlx::query!(
        r#"
        INSERT INTO events (
            event_id, tenant_id, aggregate_kind, aggregate_id, subject, version, kind, schema,
            data, actor, correlation_id, traceparent, occurred_at
        )
        SELECT
            event_id, tenant_id, aggregate_kind, aggregate_id, subject, version, kind, schema,
            data, actor, correlation_id, traceparent, occurred_at
        FROM UNNEST(
            $1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bigint[], $7::text[],
            $8::text[], $9::bytea[], $10::text[], $11::text[], $12::text[], $13::timestamptz[]
        ) AS new (
            event_id, tenant_id, aggregate_kind, aggregate_id, subject, version, kind, schema,
            data, actor, correlation_id, traceparent, occurred_at
        )
        ORDER BY aggregate_id, version
        "#,
        &columns.event_id,
        &columns.tenant_id,
        &columns.aggregate_kind,
        &columns.aggregate_id,
        &columns.subject,
        &columns.version,
        &columns.kind,
        &columns.schema,
        &columns.data,
        &columns.actor,
        &columns.correlation_id,
        &columns.traceparent as &[Option<String>],
        &columns.occurred_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Events as one array a column of `events`, for a service that writes them
/// inside one larger statement of its own.
///
/// Such a statement inserts exactly these columns, in any order of columns, and
/// selects them from `UNNEST(…)` with `ORDER BY aggregate_id, version`, as
/// [`append`] does. `seq` and `recorded_at` are the table's business, and the
/// outbox is filled by a trigger. The types are `uuid[]`, `text[]`, `bigint[]`,
/// `bytea[]` and `timestamptz[]`; `traceparent` may hold nulls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// `uuid[]`
    pub event_id: Vec<Uuid>,
    /// `text[]`
    pub tenant_id: Vec<String>,
    /// `text[]`
    pub aggregate_kind: Vec<String>,
    /// `uuid[]`
    pub aggregate_id: Vec<Uuid>,
    /// `text[]`
    pub subject: Vec<String>,
    /// `bigint[]`
    pub version: Vec<i64>,
    /// `text[]`
    pub kind: Vec<String>,
    /// `text[]`
    pub schema: Vec<String>,
    /// `bytea[]`
    pub data: Vec<Vec<u8>>,
    /// `text[]`
    pub actor: Vec<String>,
    /// `text[]`
    pub correlation_id: Vec<String>,
    /// `text[]`, with nulls
    pub traceparent: Vec<Option<String>>,
    /// `timestamptz[]`
    pub occurred_at: Vec<OffsetDateTime>,
}

impl Columns {
    /// Turns events into columns, in the order given.
    pub fn of(events: &[Event]) -> Self {
        let mut columns = Self::default();
        for event in events {
            columns.event_id.push(event.id);
            columns.tenant_id.push(event.tenant.as_str().to_owned());
            columns.aggregate_kind.push(event.aggregate.kind.to_owned());
            columns.aggregate_id.push(event.aggregate.id);
            columns.subject.push(event.aggregate.subject.clone());
            columns.version.push(event.version);
            columns.kind.push(event.kind.to_owned());
            columns.schema.push(event.schema.to_owned());
            columns.data.push(event.data.clone());
            columns.actor.push(event.actor.clone());
            columns.correlation_id.push(event.correlation_id.clone());
            columns.traceparent.push(event.traceparent.clone());
            columns.occurred_at.push(event.occurred_at);
        }
        columns
    }
}
