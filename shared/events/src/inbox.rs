//! What consumers remember: which events took effect, and how far each
//! aggregate is.
//!
//! `inbox` knows events by their id, `inbox_aggregates` by the version of their
//! aggregate. Both are written in the transaction of the effect. For an event
//! that is delivered again either suffices, so old rows of `inbox` may go.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bursar_crash::canary;
use bursar_status::correlation::{self, CorrelationId};
use futures::FutureExt;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tracing::Instrument;
use uuid::Uuid;

use crate::consumer::Handling;
use crate::consumer::lease::Lease;
use crate::received::{HandlerError, Received};
use crate::trace;

/// Who lets an event in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door<'a> {
    /// A consumer, while its lease lasts and the aggregate is not parked.
    Consumer(&'a Lease),
    /// A replay, which works on parked aggregates.
    Replay,
}

/// Whether an event may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// It is in the inbox and its aggregate has moved on to it, if the
    /// transaction commits.
    Entered,
    /// It took effect before.
    Past,
    /// One before it has not come.
    Early {
        /// The version that is next.
        expected: i64,
    },
    /// Its aggregate is parked.
    Parked,
    /// The consumer does not hold the lease any more.
    LeaseLost,
    /// The aggregate moved meanwhile; look again.
    Again,
}

/// Lets an event take effect in this transaction, when it is its turn: it is
/// written into the inbox, and its aggregate moves on to it. A concurrent
/// transaction with the same event is waited for.
///
/// No statement of the transaction may take longer than `timeout` from here on.
pub(crate) async fn enter(
    connection: &mut PgConnection,
    door: Door<'_>,
    group: &str,
    event: &Received,
    timeout: Duration,
) -> Result<Entrance, sqlx::Error> {
    let lease = match door {
        Door::Consumer(lease) => Some(lease),
        Door::Replay => None,
    };
    let row = sqlx::query!(
        r#"
        WITH standing AS MATERIALIZED (
            SELECT
                $6::text IS NULL OR EXISTS (
                    SELECT FROM consumer_leases
                    WHERE consumer_group = $1 AND source = $6 AND holder = $7 AND epoch = $8
                        AND expires_at > clock_timestamp()
                ) AS owned,
                $6::text IS NOT NULL AND EXISTS (
                    SELECT FROM dead_letters
                    WHERE consumer_group = $1 AND aggregate_id = $4 AND replayed_at IS NULL
                ) AS parked,
                (
                    SELECT version FROM inbox_aggregates
                    WHERE consumer_group = $1 AND aggregate_id = $4
                ) AS last
        ),
        claimed AS (
            INSERT INTO inbox (consumer_group, event_id, tenant_id)
            SELECT $1, $2, $3
            FROM standing
            WHERE owned AND NOT parked AND (last IS NULL OR last = $5::bigint - 1)
            ON CONFLICT (consumer_group, event_id) DO NOTHING
            RETURNING event_id
        ),
        moved AS (
            INSERT INTO inbox_aggregates AS seen (consumer_group, aggregate_id, tenant_id, version)
            SELECT $1, $4, $3, $5::bigint
            FROM claimed
            ON CONFLICT (consumer_group, aggregate_id) DO UPDATE
            SET version = EXCLUDED.version, updated_at = clock_timestamp()
            WHERE seen.version = EXCLUDED.version - 1
            RETURNING seen.aggregate_id
        )
        SELECT
            owned AS "owned!", parked AS "parked!", last,
            EXISTS (SELECT FROM claimed) AS "claimed!",
            EXISTS (SELECT FROM moved) AS "moved!",
            set_config('statement_timeout', $9, true)
        FROM standing
        "#,
        group,
        event.id,
        event.tenant,
        event.aggregate_id,
        event.version,
        lease.map(|lease| lease.source),
        lease.map(|lease| lease.holder),
        lease.map(|lease| lease.epoch),
        timeout.as_millis().to_string(),
    )
    .fetch_one(connection)
    .await?;
    Ok(match row.last {
        _ if !row.owned => Entrance::LeaseLost,
        _ if row.parked => Entrance::Parked,
        _ if canary!("inbox.ignored") => Entrance::Entered,
        Some(last) if event.version <= last => Entrance::Past,
        Some(last) if event.version > last + 1 => Entrance::Early { expected: last + 1 },
        Some(_) | None if !row.claimed => Entrance::Past,
        Some(_) | None if !row.moved => Entrance::Again,
        Some(_) | None => Entrance::Entered,
    })
}

/// The next event of an aggregate that a group handles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next<'a> {
    /// The version of the first of those before it that it does not handle and that are
    /// passed over with it; its own when there are none.
    pub(crate) first: i64,
    /// The event.
    pub(crate) event: &'a Received,
}

/// Lets events of different aggregates take effect in this transaction, as [`enter`]
/// does one. False, and nothing may be committed, unless all of them are next and no
/// other transaction is in the way.
pub(crate) async fn enter_all(
    connection: &mut PgConnection,
    lease: &Lease,
    group: &str,
    next: &[Next<'_>],
    timeout: Duration,
) -> Result<bool, sqlx::Error> {
    let events: Vec<Uuid> = next.iter().map(|one| one.event.id).collect();
    let tenants: Vec<&str> = next.iter().map(|one| one.event.tenant.as_str()).collect();
    let aggregates: Vec<Uuid> = next.iter().map(|one| one.event.aggregate_id).collect();
    let firsts: Vec<i64> = next.iter().map(|one| one.first).collect();
    let versions: Vec<i64> = next.iter().map(|one| one.event.version).collect();
    // Rows are written in the order of their keys, so that two who write several do not
    // wait for each other in a circle.
    let entered = sqlx::query_scalar!(
        r#"
        WITH next AS MATERIALIZED (
            SELECT next.event_id, next.tenant_id, next.aggregate_id, next.first, next.version
            FROM UNNEST($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[])
                AS next (event_id, tenant_id, aggregate_id, first, version)
            WHERE EXISTS (
                SELECT FROM consumer_leases
                WHERE consumer_group = $1 AND source = $7 AND holder = $8 AND epoch = $9
                    AND expires_at > clock_timestamp()
            ) AND NOT EXISTS (
                SELECT FROM dead_letters AS letter
                WHERE letter.consumer_group = $1 AND letter.aggregate_id = next.aggregate_id
                    AND letter.replayed_at IS NULL
            )
        ),
        claimed AS (
            INSERT INTO inbox (consumer_group, event_id, tenant_id)
            SELECT $1, event_id, tenant_id
            FROM next
            ORDER BY event_id
            ON CONFLICT (consumer_group, event_id) DO NOTHING
            RETURNING event_id
        ),
        moved AS (
            INSERT INTO inbox_aggregates AS seen (consumer_group, aggregate_id, tenant_id, version)
            SELECT $1, aggregate_id, tenant_id, version
            FROM next
            ORDER BY aggregate_id
            ON CONFLICT (consumer_group, aggregate_id) DO UPDATE
            SET version = EXCLUDED.version, updated_at = clock_timestamp()
            WHERE EXISTS (
                SELECT FROM next
                WHERE next.aggregate_id = seen.aggregate_id
                    AND seen.version BETWEEN next.first - 1 AND next.version - 1
            )
            RETURNING seen.aggregate_id
        )
        SELECT
            (SELECT count(*) FROM claimed) = cardinality($2::uuid[])
                AND (SELECT count(*) FROM moved) = cardinality($2::uuid[])
                AND set_config('statement_timeout', $10, true) IS NOT NULL AS "entered!"
        "#,
        group,
        &events,
        &tenants as &[&str],
        &aggregates,
        &firsts,
        &versions,
        lease.source,
        lease.holder,
        lease.epoch,
        timeout.as_millis().to_string(),
    )
    .fetch_one(connection)
    .await;
    match entered {
        Ok(entered) => Ok(entered || canary!("inbox.together_ignored")),
        Err(error) if is_conflict(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// True for a deadlock or a serialization failure: it is others that are in the way,
/// and the database works.
pub fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40P01" | "40001"))
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

/// Runs a handler with the event's correlation id and trace, [`bounded`].
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
    let handling = async { handler(connection, event).await };
    let handling = correlation::scope(correlation_id, handling.instrument(span));
    bounded(timeout, handling).await
}

/// Waits for a handler. One that panics or takes too long may work another time. The
/// handler is to be called inside the future, so that a panic before its first await
/// is caught too.
pub(crate) async fn bounded(
    timeout: Duration,
    handling: impl Future<Output = Result<(), HandlerError>>,
) -> Result<(), HandlerError> {
    // The handler's transaction is rolled back, and nothing else is shared.
    let handling = AssertUnwindSafe(handling).catch_unwind();
    match tokio::time::timeout(timeout, handling).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(HandlerError::retry("the handler panicked")),
        Err(_elapsed) => Err(HandlerError::retry(format!(
            "the handler took longer than {timeout:?}"
        ))),
    }
}
