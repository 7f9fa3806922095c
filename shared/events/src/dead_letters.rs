//! Events that a consumer could not handle.
//!
//! A letter whose `replayed_at` is null parks its aggregate for its group: the
//! events that follow become letters too, in order, until a replay has worked
//! through them. Whether an aggregate is parked changes only under a lock of the
//! aggregate, so an event cannot slip in between.

use std::time::Duration;

use bursar_crash::crash_point;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::consumer::Handling;
use crate::consumer::lease::Lease;
use crate::inbox::{self, Door, Entrance};
use crate::received::{HandlerError, Received};

/// How many characters of an error are kept.
const MAX_ERROR_CHARS: usize = 1000;
/// How many parked aggregates a replay looks up at once.
const PAGE_AGGREGATES: i64 = 100;
/// How long a handler may take in a replay.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an event is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It could not be handled.
    Failed,
    /// It came after such a one.
    Behind,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Behind => "behind",
        }
    }
}

/// A dead letter to be written.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) group: &'a str,
    pub(crate) event: &'a Received,
    pub(crate) wanted: bool,
    pub(crate) reason: Reason,
    pub(crate) attempts: u32,
    pub(crate) error: &'a str,
}

/// Writes a dead letter. False when there is no reason to any more: the event
/// has taken effect, the aggregate is not parked (for [`Reason::Behind`]), or
/// the lease was lost.
pub(crate) async fn park(
    pool: &PgPool,
    lease: &Lease,
    letter: &Letter<'_>,
) -> Result<bool, sqlx::Error> {
    let event = letter.event;
    let error = storable(letter.error);
    let mut transaction = pool.begin().await?;
    lock_aggregate(&mut transaction, letter.group, event.aggregate_id).await?;
    // A letter that is there already and not resolved counts as written: the
    // entry came a second time because it was not acknowledged.
    let result = sqlx::query!(
        r#"
        INSERT INTO dead_letters AS letter (
            consumer_group, source, event_id, tenant_id, aggregate_kind, aggregate_id, subject,
            version, kind, schema, data, actor, correlation_id, traceparent, occurred_at, wanted,
            reason, attempts, last_error
        )
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19
        WHERE EXISTS (
            SELECT FROM consumer_leases
            WHERE consumer_group = $1 AND source = $2 AND holder = $20 AND epoch = $21
                AND expires_at > clock_timestamp()
        ) AND NOT EXISTS (
            SELECT FROM inbox_aggregates
            WHERE consumer_group = $1 AND aggregate_id = $6 AND version >= $8
        ) AND ($17 = 'failed' OR EXISTS (
            SELECT FROM dead_letters
            WHERE consumer_group = $1 AND aggregate_id = $6 AND replayed_at IS NULL
        ))
        ON CONFLICT (consumer_group, event_id) DO UPDATE
        SET event_id = EXCLUDED.event_id
        WHERE letter.replayed_at IS NULL
        "#,
        letter.group,
        lease.source,
        event.id,
        event.tenant,
        event.aggregate_kind,
        event.aggregate_id,
        event.subject,
        event.version,
        event.kind,
        event.schema,
        event.data,
        event.actor,
        event.correlation_id,
        event.traceparent,
        event.occurred_at,
        letter.wanted,
        letter.reason.name(),
        attempts(letter.attempts),
        error,
        lease.holder,
        lease.epoch,
    )
    .execute(&mut *transaction)
    .await?;
    crash_point!("consumer.before_park_commit");
    transaction.commit().await?;
    crash_point!("consumer.after_park_commit");
    Ok(result.rows_affected() > 0)
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// How many dead letters took effect, or had before.
    pub handled: u64,
    /// How many aggregates are still parked, because a letter failed again.
    pub still_parked: u64,
}

/// Handles the dead letters of a group, each aggregate's in order. A letter
/// that fails again stays, with those behind it; the other aggregates go on.
/// An aggregate without letters is not parked any more.
///
/// Safe beside a running consumer and beside another replay.
pub async fn replay<H>(pool: &PgPool, group: &str, handler: H) -> Result<Replayed, sqlx::Error>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync,
{
    let mut replayed = Replayed::default();
    let mut after = Uuid::nil();
    loop {
        let aggregates = sqlx::query_scalar!(
            "SELECT DISTINCT aggregate_id FROM dead_letters
             WHERE consumer_group = $1 AND replayed_at IS NULL AND aggregate_id > $2
             ORDER BY aggregate_id
             LIMIT $3",
            group,
            after,
            PAGE_AGGREGATES,
        )
        .fetch_all(pool)
        .await?;
        let Some(&last) = aggregates.last() else {
            return Ok(replayed);
        };
        after = last;
        for aggregate_id in aggregates {
            loop {
                match replay_first(pool, group, aggregate_id, &handler).await? {
                    First::Handled => replayed.handled += 1,
                    First::None => break,
                    First::Failed => {
                        replayed.still_parked += 1;
                        break;
                    }
                }
            }
        }
    }
}

/// What became of the first dead letter of an aggregate.
enum First {
    None,
    Handled,
    Failed,
}

async fn replay_first<H>(
    pool: &PgPool,
    group: &str,
    aggregate_id: Uuid,
    handler: &H,
) -> Result<First, sqlx::Error>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync,
{
    let mut transaction = pool.begin().await?;
    lock_aggregate(&mut transaction, group, aggregate_id).await?;
    let Some(parked) = first(&mut transaction, group, aggregate_id).await? else {
        return Ok(First::None);
    };
    let event = &parked.event;
    let entrance = inbox::enter(
        &mut transaction,
        Door::Replay,
        group,
        event,
        HANDLER_TIMEOUT,
    )
    .await?;
    let outcome = match entrance {
        Entrance::Entered if event.version < 1 => Err(HandlerError::poison("it is no event")),
        Entrance::Entered if parked.wanted => {
            inbox::handle(handler, HANDLER_TIMEOUT, group, &mut transaction, event).await
        }
        Entrance::Entered | Entrance::Past => Ok(()),
        Entrance::Early { expected } => Err(HandlerError::retry(format!(
            "version {} is here, but version {expected} is next",
            event.version
        ))),
        // The first two concern consumers only.
        Entrance::Parked | Entrance::LeaseLost | Entrance::Again => {
            Err(HandlerError::retry("the aggregate moved meanwhile"))
        }
    };
    match outcome {
        Ok(()) => {
            resolve(&mut transaction, parked.id, false).await?;
            transaction.commit().await?;
            Ok(First::Handled)
        }
        Err(error) => {
            drop(transaction);
            note_failure(pool, parked.id, &error).await?;
            tracing::warn!(group, event_id = %event.id, %error, "a dead letter failed again");
            Ok(First::Failed)
        }
    }
}

/// Gives up the first dead letter of its aggregate: it never takes effect, and
/// the aggregate goes on after it. For operators, when an event is known to be
/// unusable or its predecessor to be lost. False when the event is not parked
/// or not the first of its aggregate.
pub async fn discard(pool: &PgPool, group: &str, event_id: Uuid) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let aggregate_id = sqlx::query_scalar!(
        "SELECT aggregate_id FROM dead_letters
         WHERE consumer_group = $1 AND event_id = $2 AND replayed_at IS NULL",
        group,
        event_id,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(aggregate_id) = aggregate_id else {
        return Ok(false);
    };
    lock_aggregate(&mut transaction, group, aggregate_id).await?;
    let parked = first(&mut transaction, group, aggregate_id).await?;
    let Some(parked) = parked.filter(|parked| parked.event.id == event_id) else {
        return Ok(false);
    };
    sqlx::query!(
        "INSERT INTO inbox_aggregates AS seen (consumer_group, aggregate_id, tenant_id, version)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (consumer_group, aggregate_id) DO UPDATE
         SET version = EXCLUDED.version, updated_at = clock_timestamp()
         WHERE seen.version < EXCLUDED.version",
        group,
        aggregate_id,
        parked.event.tenant,
        parked.event.version,
    )
    .execute(&mut *transaction)
    .await?;
    resolve(&mut transaction, parked.id, true).await?;
    transaction.commit().await?;
    tracing::warn!(group, %event_id, "a dead letter was discarded");
    Ok(true)
}

struct Parked {
    id: i64,
    wanted: bool,
    event: Received,
}

/// The first dead letter of an aggregate.
async fn first(
    connection: &mut PgConnection,
    group: &str,
    aggregate_id: Uuid,
) -> Result<Option<Parked>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT id, source, event_id, tenant_id, aggregate_kind, aggregate_id, subject, version,
             kind, schema, data, actor, correlation_id, traceparent, occurred_at, wanted
         FROM dead_letters
         WHERE consumer_group = $1 AND aggregate_id = $2 AND replayed_at IS NULL
         ORDER BY version
         LIMIT 1",
        group,
        aggregate_id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Parked {
        id: row.id,
        wanted: row.wanted,
        event: Received {
            id: row.event_id,
            source: row.source,
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
    }))
}

async fn resolve(
    connection: &mut PgConnection,
    id: i64,
    discarded: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE dead_letters SET replayed_at = clock_timestamp(), discarded = $2 WHERE id = $1",
        id,
        discarded,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn note_failure(pool: &PgPool, id: i64, error: &HandlerError) -> Result<(), sqlx::Error> {
    let error = storable(&error.to_string());
    sqlx::query!(
        "UPDATE dead_letters SET attempts = attempts + 1, last_error = $2
         WHERE id = $1 AND replayed_at IS NULL",
        id,
        error,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Waits for everyone else who parks or replays the aggregate, until the end of
/// the transaction. Statements after it see what they did.
async fn lock_aggregate(
    connection: &mut PgConnection,
    group: &str,
    aggregate_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2::uuid::text, 7))",
        group,
        aggregate_id,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An error's text as the table takes it: not too long, and without NUL, which
/// PostgreSQL's text cannot hold.
fn storable(error: &str) -> String {
    error
        .chars()
        .filter(|&character| character != '\0')
        .take(MAX_ERROR_CHARS)
        .collect()
}

fn attempts(attempts: u32) -> i32 {
    i32::try_from(attempts).unwrap_or(i32::MAX)
}
