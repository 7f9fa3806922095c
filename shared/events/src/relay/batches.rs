//! The outbox of batches: reading what waits, deleting what is published.
//!
//! There is no gate here. Whoever writes version n of an aggregate into a batch
//! holds the aggregate's lock, and got it when the writer of version n−1 had
//! committed. So a snapshot that shows a batch shows every batch that must come
//! before it, and those have lower numbers. Publishing in the order of the
//! numbers is publishing in the order of the versions, however late some other
//! batch with a low number commits.
//!
//! Events of the same aggregates that were written as rows, before its writers
//! went over to batches, come first: a batch waits for them.

use sqlx::PgPool;

use super::leases::{BATCHES, Held, Leases};
use super::stream::EntryId;
use crate::received::Received;

/// How many batches are looked at in one go.
const MAX_BATCHES: i64 = 64;

/// A batch that is not published yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) seq: i64,
    /// Its events, in order.
    pub(super) events: Vec<Received>,
}

/// Reads the first batches, in the order of their numbers: as many as have
/// `max_events` events, and at least one.
pub(super) async fn read(
    pool: &PgPool,
    source: &str,
    max_events: i64,
) -> Result<Vec<Waiting>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT
            batch.seq AS "seq!", batch.event_ids AS "event_ids!",
            batch.aggregate_ids AS "aggregate_ids!", batch.versions AS "versions!",
            batch.data AS "data!", batch.occurred_at AS "occurred_at!",
            batch.types AS "types!", batch.origins AS "origins!",
            batch.aggregate_kinds AS "aggregate_kinds!",
            batch.subject_prefixes AS "subject_prefixes!", batch.kinds AS "kinds!",
            batch.schemas AS "schemas!", batch.tenant_ids AS "tenant_ids!",
            batch.actors AS "actors!", batch.correlation_ids AS "correlation_ids!",
            batch.traceparents AS "traceparents!: Vec<Option<String>>",
            EXISTS (
                SELECT FROM outbox WHERE outbox.aggregate_id = ANY (batch.aggregate_ids)
            ) AS "has_to_wait!"
        FROM (
            SELECT seq, sum(events) OVER (ORDER BY seq) - events AS before
            FROM (
                SELECT seq, events FROM outbox_batches ORDER BY seq LIMIT $1
            ) AS first
        ) AS page
        CROSS JOIN LATERAL (
            SELECT
                seq, event_ids, aggregate_ids, versions, data, occurred_at, types, origins,
                aggregate_kinds, subject_prefixes, kinds, schemas, tenant_ids, actors,
                correlation_ids, traceparents
            FROM event_batches
            WHERE event_batches.seq = page.seq
            LIMIT 1
        ) AS batch
        WHERE page.before < $2
        ORDER BY page.seq
        "#,
        MAX_BATCHES,
        max_events,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .take_while(|row| !row.has_to_wait)
        .map(|row| row.unpack(source))
        .collect()
}

struct Row {
    seq: i64,
    event_ids: Vec<uuid::Uuid>,
    aggregate_ids: Vec<uuid::Uuid>,
    versions: Vec<i64>,
    data: Vec<Vec<u8>>,
    occurred_at: Vec<time::OffsetDateTime>,
    types: Vec<i32>,
    origins: Vec<i32>,
    aggregate_kinds: Vec<String>,
    subject_prefixes: Vec<String>,
    kinds: Vec<String>,
    schemas: Vec<String>,
    tenant_ids: Vec<String>,
    actors: Vec<String>,
    correlation_ids: Vec<String>,
    traceparents: Vec<Option<String>>,
    has_to_wait: bool,
}

impl Row {
    /// The events of the row. The constraints of the table hold the arrays
    /// together; a reference beyond its array is damage.
    fn unpack(self, source: &str) -> Result<Waiting, sqlx::Error> {
        let mut events = Vec::with_capacity(self.event_ids.len());
        for (at, data) in self.data.into_iter().enumerate() {
            let kind = place(self.types[at], self.kinds.len(), self.seq)?;
            let origin = place(self.origins[at], self.tenant_ids.len(), self.seq)?;
            let aggregate_id = self.aggregate_ids[at];
            events.push(Received {
                id: self.event_ids[at],
                source: source.to_owned(),
                kind: self.kinds[kind].clone(),
                tenant: self.tenant_ids[origin].clone(),
                aggregate_kind: self.aggregate_kinds[kind].clone(),
                aggregate_id,
                subject: format!("{}{aggregate_id}", self.subject_prefixes[kind]),
                version: self.versions[at],
                schema: self.schemas[kind].clone(),
                data,
                actor: self.actors[origin].clone(),
                correlation_id: self.correlation_ids[origin].clone(),
                traceparent: self.traceparents[origin].clone(),
                occurred_at: self.occurred_at[at],
            });
        }
        Ok(Waiting {
            seq: self.seq,
            events,
        })
    }
}

/// The place in an array that a number counted from 1 means.
fn place(number: i32, length: usize, seq: i64) -> Result<usize, sqlx::Error> {
    usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_sub(1))
        .filter(|&place| place < length)
        .ok_or_else(|| {
            sqlx::Error::Decode(format!("batch {seq} refers to what it does not have").into())
        })
}

/// Deletes batches that were published whole, and notes how far the stream
/// reaches, in one statement. When the batches are no longer held under the
/// same epoch nothing is deleted. The lease is locked until the statement is
/// through, so nobody takes it over meanwhile.
pub(super) async fn delete(
    pool: &PgPool,
    leases: &Leases,
    stream: &str,
    seqs: &[i64],
    last: EntryId,
) -> Result<u64, sqlx::Error> {
    let Some(&Held { partition, epoch }) = leases.batches() else {
        return Ok(0);
    };
    debug_assert_eq!(partition, BATCHES);
    let result = sqlx::query!(
        r#"
        WITH held AS MATERIALIZED (
            SELECT lease.partition
            FROM relay_leases AS lease
            WHERE lease.partition = $2 AND lease.epoch = $3 AND lease.holder = $1
            FOR SHARE OF lease
        ),
        reached AS (
            INSERT INTO relay_streams AS known (stream, last_ms, last_seq, settled_at)
            SELECT $5, $6, $7, COALESCE(min(event_batches.recorded_at), clock_timestamp())
            FROM event_batches
            WHERE event_batches.seq = (SELECT min(seq) FROM UNNEST($4::bigint[]) AS seq)
            ON CONFLICT (stream) DO UPDATE
            SET last_ms = EXCLUDED.last_ms, last_seq = EXCLUDED.last_seq
            WHERE (known.last_ms, known.last_seq) < (EXCLUDED.last_ms, EXCLUDED.last_seq)
        )
        DELETE FROM outbox_batches
        USING held
        WHERE outbox_batches.seq = ANY ($4::bigint[])
        "#,
        leases.holder,
        partition,
        epoch,
        seqs,
        stream,
        last.ms,
        last.seq,
    )
    .execute(pool)
    .await?;
    Ok(result.rows_affected())
}
