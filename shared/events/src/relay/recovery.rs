//! When Redis comes back with less than it had.
//!
//! A row leaves the outbox once its event is in the stream, and Redis may still
//! lose it: a crash drops what was not flushed, a fail-over what was not
//! replicated, a flush everything. So the relay remembers the last entry it
//! made. When the stream ends before that, everything that some consumer may
//! not have had is put into the outbox again. Consumers know by its id and its
//! version what they had.

use std::time::Duration;

use bursar_crash::crash_point;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::stream::EntryId;
use crate::received::Received;

/// How much earlier than the last settled event a lost one may have been
/// recorded: transactions do not stay open for so long.
const LATE_COMMIT: Duration = Duration::from_secs(600);

/// What is published again has no key but a time, and the index by time is of the kind
/// that needs a bitmap: without it the relay's sessions would read the whole log.
const BY_TIME: &str = "SET LOCAL enable_bitmapscan = on";

/// The last entry that any relay of this database made.
pub(super) async fn known(pool: &PgPool, stream: &str) -> Result<Option<EntryId>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT last_ms, last_seq FROM relay_streams WHERE stream = $1 AND last_ms > 0",
        stream,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| EntryId {
        ms: row.last_ms,
        seq: row.last_seq,
    }))
}

/// Publishes again what was recorded since the stream was last known to be
/// settled. `known` is forgotten, so that the loss is dealt with once, also
/// when two relays notice it.
pub(super) async fn republish_lost(
    pool: &PgPool,
    stream: &str,
    known: EntryId,
) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::raw_sql(BY_TIME).execute(&mut *transaction).await?;
    let row = sqlx::query!(
        "UPDATE relay_streams SET last_ms = 0, last_seq = 0
         WHERE stream = $1 AND last_ms = $2 AND last_seq = $3
         RETURNING settled_at",
        stream,
        known.ms,
        known.seq,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    if let Some(row) = row {
        let since = row.settled_at - LATE_COMMIT;
        let events = republish(&mut transaction, since).await?;
        tracing::error!(
            stream,
            events,
            %since,
            "Redis lost a part of the stream; the events since are published again"
        );
    }
    crash_point!("relay.before_republish_commit");
    transaction.commit().await?;
    crash_point!("relay.after_republish_commit");
    Ok(())
}

/// Puts the events that were recorded since a time into the outbox again, and
/// returns how many. Consumers drop those that they have handled already.
///
/// For operators, when consumers have lost events that the relay takes for
/// published.
pub async fn republish(
    connection: &mut PgConnection,
    since: OffsetDateTime,
) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query!(
        "INSERT INTO outbox (partition, seq, tenant_id, aggregate_id, version)
         SELECT events_partition(aggregate_id), seq, tenant_id, aggregate_id, version
         FROM events
         WHERE recorded_at >= $1
         ON CONFLICT (partition, seq) DO NOTHING",
        since,
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    let in_batches = sqlx::query_scalar!(
        r#"WITH again AS (
             INSERT INTO outbox_batches (seq, events)
             SELECT seq, cardinality(event_ids)
             FROM event_batches
             WHERE recorded_at >= $1
             ON CONFLICT (seq) DO NOTHING
             RETURNING events
         )
         SELECT coalesce(sum(events), 0)::bigint AS "events!" FROM again"#,
        since,
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(rows + u64::try_from(in_batches).unwrap_or(0))
}

/// An event before which all groups are done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    aggregate_id: Uuid,
    version: i64,
    /// When its writer made it, by its id: close enough, see [`LATE_COMMIT`],
    /// and known without looking through the batches.
    made_at: Option<OffsetDateTime>,
}

impl Settled {
    pub(super) fn of(event: &Received) -> Self {
        let made_at = event.id.get_timestamp().and_then(|made_at| {
            let (seconds, nanos) = made_at.to_unix();
            let seconds = i64::try_from(seconds).ok()?;
            let whole = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
            Some(whole + Duration::from_nanos(u64::from(nanos)))
        });
        Self {
            aggregate_id: event.aggregate_id,
            version: event.version,
            made_at,
        }
    }
}

/// Notes that all groups are done with what was recorded before the given
/// event; without a group, with everything.
pub(super) async fn settle(
    pool: &PgPool,
    stream: &str,
    before: Option<Settled>,
) -> Result<(), sqlx::Error> {
    let (aggregate_id, version) = before
        .map(|event| (event.aggregate_id, event.version))
        .unzip();
    let made_at = before.and_then(|event| event.made_at);
    sqlx::query!(
        "UPDATE relay_streams
         SET settled_at = CASE WHEN $2::uuid IS NULL THEN clock_timestamp() ELSE COALESCE(
             (SELECT recorded_at FROM events WHERE aggregate_id = $2 AND version = $3),
             $4::timestamptz, settled_at
         ) END
         WHERE stream = $1",
        stream,
        aggregate_id,
        version,
        made_at,
    )
    .execute(pool)
    .await?;
    Ok(())
}
