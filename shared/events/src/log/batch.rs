//! Events that are written together, in one row.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::Event;

/// Writes events in the caller's transaction as one row of `event_batches`.
/// They are published once it commits.
///
/// The caller must hold, from an earlier statement of the same transaction, a
/// lock on each aggregate under which alone its versions are given out, or have
/// made the aggregate in this transaction. That is what the order of an
/// aggregate's events rests on here; nothing else checks it. `events` come in
/// an order in which each aggregate's versions rise. An aggregate that is
/// written like this is not written by [`super::append`] any more.
///
/// Fails with `Encode` when a subject is not a prefix followed by the
/// aggregate's id.
pub async fn append_locked(
    connection: &mut PgConnection,
    events: &[Event],
) -> Result<(), sqlx::Error> {
    append_row(connection, None, events).await
}

/// As [`append_locked`], with a name of the row, which was never given before. With the
/// names of its batches [`of_aggregate`](super::of_aggregate) finds an aggregate's events.
pub async fn append_named(
    connection: &mut PgConnection,
    name: Uuid,
    events: &[Event],
) -> Result<(), sqlx::Error> {
    append_row(connection, Some(name), events).await
}

async fn append_row(
    connection: &mut PgConnection,
    name: Option<Uuid>,
    events: &[Event],
) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let row = BatchRow::of(events)?;
    sqlx::query!(
        r#"
        INSERT INTO event_batches (
            event_ids, aggregate_ids, versions, data, occurred_at, types, origins,
            aggregate_kinds, subject_prefixes, kinds, schemas,
            tenant_ids, actors, correlation_ids, traceparents, id
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        "#,
        &row.event_ids,
        &row.aggregate_ids,
        &row.versions,
        &row.data as &[&[u8]],
        &row.occurred_at,
        &row.types,
        &row.origins,
        &row.aggregate_kinds as &[&str],
        &row.subject_prefixes as &[&str],
        &row.kinds as &[&str],
        &row.schemas as &[&str],
        &row.tenant_ids as &[&str],
        &row.actors as &[&str],
        &row.correlation_ids as &[&str],
        &row.traceparents as &[Option<&str>],
        name,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The columns of a row of `event_batches`, for a service that writes them
/// inside one larger statement of its own, under the conditions of
/// [`append_locked`]. Without events it must insert no row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchRow<'a> {
    /// `uuid[]`
    pub event_ids: Vec<Uuid>,
    /// `uuid[]`
    pub aggregate_ids: Vec<Uuid>,
    /// `bigint[]`
    pub versions: Vec<i64>,
    /// `bytea[]`
    pub data: Vec<&'a [u8]>,
    /// `timestamptz[]`
    pub occurred_at: Vec<OffsetDateTime>,
    /// `int[]`
    pub types: Vec<i32>,
    /// `int[]`
    pub origins: Vec<i32>,
    /// `text[]`
    pub aggregate_kinds: Vec<&'a str>,
    /// `text[]`
    pub subject_prefixes: Vec<&'a str>,
    /// `text[]`
    pub kinds: Vec<&'a str>,
    /// `text[]`
    pub schemas: Vec<&'a str>,
    /// `text[]`
    pub tenant_ids: Vec<&'a str>,
    /// `text[]`
    pub actors: Vec<&'a str>,
    /// `text[]`
    pub correlation_ids: Vec<&'a str>,
    /// `text[]`, with nulls
    pub traceparents: Vec<Option<&'a str>>,
}

impl<'a> BatchRow<'a> {
    /// Turns events into a row, in the order given.
    pub fn of(events: &'a [Event]) -> Result<Self, sqlx::Error> {
        let mut row = Self::default();
        for event in events {
            let kind = row.kind_of(event)?;
            let origin = row.origin_of(event);
            row.event_ids.push(event.id);
            row.aggregate_ids.push(event.aggregate.id);
            row.versions.push(event.version);
            row.data.push(&event.data);
            row.occurred_at.push(event.occurred_at);
            row.types.push(kind);
            row.origins.push(origin);
        }
        Ok(row)
    }

    /// The number of the event's type. There are a handful in a batch.
    fn kind_of(&mut self, event: &'a Event) -> Result<i32, sqlx::Error> {
        let prefix = subject_prefix(event)?;
        let known = (0..self.kinds.len()).find(|&at| {
            self.kinds[at] == event.kind
                && self.schemas[at] == event.schema
                && self.aggregate_kinds[at] == event.aggregate.kind
                && self.subject_prefixes[at] == prefix
        });
        Ok(number(known.unwrap_or_else(|| {
            self.aggregate_kinds.push(event.aggregate.kind);
            self.subject_prefixes.push(prefix);
            self.kinds.push(event.kind);
            self.schemas.push(event.schema);
            self.kinds.len() - 1
        })))
    }

    /// The number of the event's origin. Events of one request stand together,
    /// so looking at the last one is enough.
    fn origin_of(&mut self, event: &'a Event) -> i32 {
        let origin = (
            event.tenant.as_str(),
            event.actor.as_str(),
            event.correlation_id.as_str(),
            event.traceparent.as_deref(),
        );
        let last = self.tenant_ids.len().checked_sub(1).filter(|&last| {
            origin
                == (
                    self.tenant_ids[last],
                    self.actors[last],
                    self.correlation_ids[last],
                    self.traceparents[last],
                )
        });
        number(last.unwrap_or_else(|| {
            self.tenant_ids.push(origin.0);
            self.actors.push(origin.1);
            self.correlation_ids.push(origin.2);
            self.traceparents.push(origin.3);
            self.tenant_ids.len() - 1
        }))
    }
}

/// What stands before the id in a subject such as `wal_…`.
fn subject_prefix(event: &Event) -> Result<&str, sqlx::Error> {
    let mut buffer = Uuid::encode_buffer();
    let id = event.aggregate.id.hyphenated().encode_lower(&mut buffer);
    event.aggregate.subject.strip_suffix(&*id).ok_or_else(|| {
        sqlx::Error::Encode(
            format!(
                "the subject {} does not end with its aggregate's id",
                event.aggregate.subject
            )
            .into(),
        )
    })
}

/// A place in an array, as PostgreSQL counts: from 1.
fn number(place: usize) -> i32 {
    i32::try_from(place + 1).unwrap_or(i32::MAX)
}
