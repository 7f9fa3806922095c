//! The outbox: reading what waits, deleting what is published, and the doorbell.

use bursar_crash::canary;
use sqlx::PgPool;

use super::gate::{Pending, Previous};
use super::leases::{Held, Leases};
use super::stream::EntryId;
use crate::received::Received;

/// A place in the outbox: only rows after it are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) partition: i16,
    pub(super) after_seq: i64,
}

/// Reads up to `limit` rows of each partition, in the order of `seq`, with
/// their events. One statement, so all of it is one snapshot: a predecessor is
/// seen as published only when it is in the log and not in the outbox.
///
/// Every join is made row by row through a primary or unique key (`LATERAL`
/// with a limit of one), because the planner takes the log for small when its
/// statistics are old, and would read all of it.
pub(super) async fn read(
    pool: &PgPool,
    source: &str,
    cursors: &[Cursor],
    limit: i64,
) -> Result<Vec<Pending>, sqlx::Error> {
    let partitions: Vec<i16> = cursors.iter().map(|cursor| cursor.partition).collect();
    let after: Vec<i64> = cursors.iter().map(|cursor| cursor.after_seq).collect();
    let rows = sqlx::query!(
        r#"
        SELECT
            page.partition AS "partition!", page.seq AS "seq!",
            event.event_id, event.tenant_id, event.aggregate_kind, event.aggregate_id,
            event.subject, event.version, event.kind, event.schema, event.data, event.actor,
            event.correlation_id, event.traceparent, event.occurred_at,
            previous.seq AS "previous_seq?",
            (pending.seq IS NOT NULL) AS "previous_pending!"
        FROM UNNEST($1::smallint[], $2::bigint[]) AS cursor (partition, after_seq)
        CROSS JOIN LATERAL (
            SELECT outbox.partition, outbox.seq
            FROM outbox
            WHERE outbox.partition = cursor.partition AND outbox.seq > cursor.after_seq
            ORDER BY outbox.seq
            LIMIT $3
        ) AS page
        CROSS JOIN LATERAL (
            SELECT
                events.event_id, events.tenant_id, events.aggregate_kind, events.aggregate_id,
                events.subject, events.version, events.kind, events.schema, events.data,
                events.actor, events.correlation_id, events.traceparent, events.occurred_at
            FROM events
            WHERE events.seq = page.seq
            LIMIT 1
        ) AS event
        LEFT JOIN LATERAL (
            SELECT events.seq
            FROM events
            WHERE events.aggregate_id = event.aggregate_id
                AND events.version = event.version - 1
            LIMIT 1
        ) AS previous ON true
        LEFT JOIN LATERAL (
            SELECT outbox.seq
            FROM outbox
            WHERE outbox.partition = page.partition AND outbox.seq = previous.seq
            LIMIT 1
        ) AS pending ON true
        ORDER BY page.seq
        "#,
        &partitions,
        &after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Pending {
            partition: row.partition,
            seq: row.seq,
            previous: match (row.version, row.previous_seq) {
                (1, _) => Previous::Published,
                _ if canary!("relay.gap_ignored") => Previous::Published,
                (_, None) => Previous::Missing,
                (_, Some(_)) if canary!("relay.pending_overtaken") => Previous::Published,
                (_, Some(seq)) if row.previous_pending => Previous::Pending(seq),
                (_, Some(_)) => Previous::Published,
            },
            event: Received {
                id: row.event_id,
                source: source.to_owned(),
                kind: row.kind,
                tenant: row.tenant_id,
                aggregate_kind: row.aggregate_kind,
                aggregate_id: row.aggregate_id,
                subject: row.subject,
                version: row.version,
                schema: row.schema,
                data: row.data,
                actor: row.actor,
                correlation_id: row.correlation_id,
                traceparent: row.traceparent,
                occurred_at: row.occurred_at,
            },
        })
        .collect())
}

/// What was published in one go.
#[derive(Debug)]
pub(super) struct Published<'a> {
    pub(super) stream: &'a str,
    pub(super) rows: &'a [Pending],
    /// The id of the last entry.
    pub(super) last: EntryId,
}

/// Deletes what was published, and notes how far the stream reaches, in one
/// statement. Rows of a partition that is no longer held under the same epoch
/// stay; the number of deleted rows then falls short. The leases are locked
/// until the statement is through, so nobody takes them over meanwhile.
pub(super) async fn delete(
    pool: &PgPool,
    leases: &Leases,
    published: &Published<'_>,
) -> Result<u64, sqlx::Error> {
    let (held, epochs): (Vec<i16>, Vec<i64>) = leases
        .held
        .iter()
        .map(|&Held { partition, epoch }| (partition, epoch))
        .unzip();
    let (partitions, seqs): (Vec<i16>, Vec<i64>) = published
        .rows
        .iter()
        .map(|row| (row.partition, row.seq))
        .unzip();
    let last = published.last;
    let result = sqlx::query!(
        r#"
        WITH held AS MATERIALIZED (
            SELECT lease.partition
            FROM relay_leases AS lease
            JOIN UNNEST($2::smallint[], $3::bigint[]) AS mine (partition, epoch)
                ON lease.partition = mine.partition AND lease.epoch = mine.epoch
            WHERE lease.holder = $1
            ORDER BY lease.partition
            FOR SHARE OF lease
        ),
        reached AS (
            INSERT INTO relay_streams AS known (stream, last_ms, last_seq, settled_at)
            SELECT $6, $7, $8, COALESCE(min(events.recorded_at), clock_timestamp())
            FROM events
            WHERE events.seq = (SELECT min(seq) FROM UNNEST($5::bigint[]) AS seq)
            ON CONFLICT (stream) DO UPDATE
            SET last_ms = EXCLUDED.last_ms, last_seq = EXCLUDED.last_seq
            WHERE (known.last_ms, known.last_seq) < (EXCLUDED.last_ms, EXCLUDED.last_seq)
        )
        DELETE FROM outbox
        USING
            UNNEST($4::smallint[], $5::bigint[]) AS published (partition, seq),
            held
        WHERE outbox.partition = published.partition
            AND outbox.seq = published.seq
            AND held.partition = published.partition
        "#,
        leases.holder,
        &held,
        &epochs,
        &partitions,
        &seqs,
        published.stream,
        last.ms,
        last.seq,
    )
    .execute(pool)
    .await?;
    Ok(result.rows_affected())
}

/// What there is to publish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) rows: bool,
    pub(super) batches: bool,
}

/// Looks whether there is anything to publish: far cheaper than reading it, and
/// a database has mostly the one or the other.
pub(super) async fn waiting(pool: &PgPool) -> Result<Waiting, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"
        SELECT
            (SELECT seq FROM outbox ORDER BY partition, seq LIMIT 1) IS NOT NULL AS "rows!",
            (SELECT seq FROM outbox_batches ORDER BY seq LIMIT 1) IS NOT NULL AS "batches!"
        "#
    )
    .fetch_one(pool)
    .await
}

/// Asks the next writer to ring. True when it was not asked before: the caller
/// then looks at the outbox once more, for writers that came between.
pub(super) async fn arm_doorbell(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let set = sqlx::query_scalar!(
        "SELECT CASE WHEN last_value = 0 THEN setval('relay_doorbell', 1) END FROM relay_doorbell"
    )
    .fetch_one(pool)
    .await?;
    Ok(set.is_some())
}
