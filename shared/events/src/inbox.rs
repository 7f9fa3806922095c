//! What consumers remember: which events took effect, and how far each
//! aggregate is.
//!
//! `inbox` knows events by their id, `inbox_aggregates` by the version of their
//! aggregate. Both are written in the transaction of the effect. For an event
//! that is delivered again either suffices, so old rows of `inbox` may go.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bursar_status::correlation::{self, CorrelationId};
use futures::FutureExt;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tracing::Instrument;
use uuid::Uuid;

use crate::consumer::Handling;
use crate::received::{HandlerError, Received};
use crate::trace;

/// Where an event stands in its aggregate's order, as a group sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the next, or the first that the group sees.
    Next,
    /// The group is past it.
    Past,
    /// One before it has not come.
    Early {
        /// The version that is next.
        expected: i64,
    },
}

impl Place {
    /// Where `version` stands when `last` was the last one.
    pub(crate) fn of(version: i64, last: Option<i64>) -> Self {
        match last {
            None => Self::Next,
            Some(last) if version <= last => Self::Past,
            Some(last) if version == last + 1 => Self::Next,
            Some(last) => Self::Early { expected: last + 1 },
        }
    }
}

/// What [`claim`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The event is ours, if the transaction commits.
    Claimed,
    /// The event took effect before.
    Duplicate,
    /// The aggregate moved meanwhile; look again.
    Raced,
}

/// Writes an event into the inbox and moves its aggregate on to it. A
/// concurrent claim of the same event is waited for.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    group: &str,
    event: &Received,
) -> Result<Claim, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        WITH claimed AS (
            INSERT INTO inbox (consumer_group, event_id, tenant_id)
            VALUES ($1, $2, $3)
            ON CONFLICT (consumer_group, event_id) DO NOTHING
            RETURNING event_id
        ),
        moved AS (
            INSERT INTO inbox_aggregates AS seen (consumer_group, aggregate_id, tenant_id, version)
            SELECT $1, $4, $3, $5 FROM claimed
            ON CONFLICT (consumer_group, aggregate_id) DO UPDATE
            SET version = EXCLUDED.version, updated_at = clock_timestamp()
            WHERE seen.version = EXCLUDED.version - 1
            RETURNING seen.aggregate_id
        )
        SELECT
            EXISTS (SELECT FROM claimed) AS "claimed!",
            EXISTS (SELECT FROM moved) AS "moved!"
        "#,
        group,
        event.id,
        event.tenant,
        event.aggregate_id,
        event.version,
    )
    .fetch_one(connection)
    .await?;
    Ok(match (row.claimed, row.moved) {
        (true, true) => Claim::Claimed,
        (true, false) => Claim::Raced,
        (false, _) => Claim::Duplicate,
    })
}

/// Events of one aggregate, one after the other, that a group does not handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) aggregate_id: Uuid,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Moves the aggregates that a group follows past events that it does not
/// handle. Returns the aggregates for which this is not so easy, because they
/// are parked or an event before these has not come. Aggregates of which the
/// group has handled nothing are not remembered.
pub(crate) async fn skip(
    pool: &PgPool,
    group: &str,
    skipped: &[Skipped],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let aggregates: Vec<Uuid> = skipped.iter().map(|run| run.aggregate_id).collect();
    let first: Vec<i64> = skipped.iter().map(|run| run.first).collect();
    let last: Vec<i64> = skipped.iter().map(|run| run.last).collect();
    let rows = sqlx::query!(
        r#"
        WITH run AS (
            SELECT aggregate_id, first, last
            FROM UNNEST($2::uuid[], $3::bigint[], $4::bigint[]) AS run (aggregate_id, first, last)
        ),
        moved AS (
            UPDATE inbox_aggregates AS seen
            SET version = run.last, updated_at = clock_timestamp()
            FROM run
            WHERE seen.consumer_group = $1
                AND seen.aggregate_id = run.aggregate_id
                AND seen.version BETWEEN run.first - 1 AND run.last - 1
        )
        SELECT run.aggregate_id AS "aggregate_id!"
        FROM run
        WHERE EXISTS (
            SELECT FROM inbox_aggregates AS seen
            WHERE seen.consumer_group = $1
                AND seen.aggregate_id = run.aggregate_id
                AND seen.version < run.first - 1
        ) OR EXISTS (
            SELECT FROM dead_letters AS letter
            WHERE letter.consumer_group = $1
                AND letter.aggregate_id = run.aggregate_id
                AND letter.replayed_at IS NULL
        )
        "#,
        group,
        &aggregates,
        &first,
        &last,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| row.aggregate_id).collect())
}

/// Deletes inbox rows older than `before`, at most `limit`, and returns how
/// many. The aggregates' versions, which stay, still tell those events.
pub async fn delete_old(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    let result = sqlx::query!(
        "DELETE FROM inbox WHERE (consumer_group, event_id) IN (
             SELECT consumer_group, event_id FROM inbox
             WHERE recorded_at < $1
             ORDER BY recorded_at
             LIMIT $2
         )",
        before,
        i64::from(limit),
    )
    .execute(connection)
    .await?;
    Ok(result.rows_affected())
}

/// Runs a handler with the event's correlation id and trace. One that panics or
/// takes too long may work another time.
pub(crate) async fn handle<H>(
    handler: &H,
    timeout: Duration,
    group: &str,
    connection: &mut PgConnection,
    event: &Received,
) -> Result<(), HandlerError>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a>,
{
    let span = tracing::info_span!(
        "consumer.handle",
        group,
        kind = event.kind,
        subject = event.subject,
        version = event.version,
        event_id = %event.id,
        correlation_id = event.correlation_id,
    );
    if let Some(traceparent) = &event.traceparent {
        trace::continue_from(&span, traceparent);
    }
    let correlation_id =
        CorrelationId::parse(&event.correlation_id).unwrap_or_else(CorrelationId::generate);
    // The handler is called inside, so that a panic before its first await is
    // caught too. Its transaction is rolled back and nothing else is shared.
    let handling = AssertUnwindSafe(async { handler(connection, event).await }).catch_unwind();
    let handling = correlation::scope(correlation_id, handling.instrument(span));
    match tokio::time::timeout(timeout, handling).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(HandlerError::retry("the handler panicked")),
        Err(_elapsed) => Err(HandlerError::retry(format!(
            "the handler took longer than {timeout:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the next version, or any first one, has its turn.
    #[test]
    fn place_follows_the_last_version() {
        assert_eq!(Place::of(1, None), Place::Next);
        assert_eq!(Place::of(7, None), Place::Next);
        assert_eq!(Place::of(7, Some(7)), Place::Past);
        assert_eq!(Place::of(1, Some(7)), Place::Past);
        assert_eq!(Place::of(8, Some(7)), Place::Next);
        assert_eq!(Place::of(9, Some(7)), Place::Early { expected: 8 });
    }
}
