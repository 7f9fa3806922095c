//! The runs of schedules.

use bursar_aip::id::{ScheduleId, TenantId, TransactionId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::schedule::{RunFailure, RunState, ScheduleRun};
use crate::store::unreadable;

struct Row {
    number: i32,
    due_at: OffsetDateTime,
    state: String,
    transaction_ids: Vec<Uuid>,
    failure_reason: Option<String>,
    failure_message: Option<String>,
    started_at: Option<OffsetDateTime>,
    ended_at: Option<OffsetDateTime>,
    retry_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for ScheduleRun {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let failure = match (row.failure_reason, row.failure_message) {
            (Some(reason), Some(message)) => Some(RunFailure { reason, message }),
            (_, _) => None,
        };
        let ids = row.transaction_ids.into_iter();
        Ok(Self {
            number: row.number,
            due_at: row.due_at,
            state: RunState::parse(&row.state, row.retry_at).ok_or_else(|| unreadable("state"))?,
            transactions: ids.map(TransactionId::from_uuid).collect(),
            failure,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}

/// Writes runs of a schedule, new ones and those that are other than before. Only for
/// whoever has locked the schedule.
#[tracing::instrument(name = "store.schedules.runs.write", skip_all)]
pub(crate) async fn write(
    conn: &mut PgConnection,
    tenant: &TenantId,
    schedule: ScheduleId,
    runs: &[ScheduleRun],
) -> Result<(), sqlx::Error> {
    if runs.is_empty() {
        return Ok(());
    }
    let each = runs.iter();
    let numbers: Vec<i32> = each.clone().map(|run| run.number).collect();
    let due: Vec<OffsetDateTime> = each.clone().map(|run| run.due_at).collect();
    let states: Vec<&str> = each.clone().map(|run| run.state.name()).collect();
    // An array of arrays must be rectangular, so each goes as text.
    let transactions: Vec<String> = each
        .clone()
        .map(|run| {
            let ids = run.transactions.iter().map(|id| id.uuid().to_string());
            format!("{{{}}}", ids.collect::<Vec<_>>().join(","))
        })
        .collect();
    let failures = each.clone().map(|run| run.failure.clone());
    let (reasons, messages): (Vec<_>, Vec<_>) = failures
        .map(|failure| {
            failure
                .map(|failure| (failure.reason, failure.message))
                .unzip()
        })
        .unzip();
    let started: Vec<Option<OffsetDateTime>> = each.clone().map(|run| run.started_at).collect();
    let ended: Vec<Option<OffsetDateTime>> = each.clone().map(|run| run.ended_at).collect();
    let retries: Vec<Option<OffsetDateTime>> = each.map(|run| run.state.retry_at()).collect();
    sqlx::query!(
        "INSERT INTO schedule_runs (
             schedule_id, tenant_id, number, due_at, state, transaction_ids, failure_reason,
             failure_message, started_at, ended_at, retry_at
         )
         SELECT $1, $2, number, due_at, state, transaction_ids::uuid[], failure_reason,
             failure_message, started_at, ended_at, retry_at
         FROM UNNEST(
             $3::integer[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[],
             $9::timestamptz[], $10::timestamptz[], $11::timestamptz[]
         ) AS new (
             number, due_at, state, transaction_ids, failure_reason, failure_message, started_at,
             ended_at, retry_at
         )
         ON CONFLICT (schedule_id, number) DO UPDATE
         SET state = excluded.state, transaction_ids = excluded.transaction_ids,
             failure_reason = excluded.failure_reason, failure_message = excluded.failure_message,
             ended_at = excluded.ended_at, retry_at = excluded.retry_at",
        schedule.uuid(),
        tenant.as_str(),
        &numbers,
        &due,
        &states as &[&str],
        &transactions,
        &reasons as &[Option<String>],
        &messages as &[Option<String>],
        &started as &[Option<OffsetDateTime>],
        &ended as &[Option<OffsetDateTime>],
        &retries as &[Option<OffsetDateTime>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The run of a schedule that has not ended; there is one at most.
#[tracing::instrument(name = "store.schedules.runs.open", skip_all)]
pub(crate) async fn open(
    conn: &mut PgConnection,
    schedule: ScheduleId,
) -> Result<Option<ScheduleRun>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT number, due_at, state, transaction_ids, failure_reason, failure_message,
             started_at, ended_at, retry_at
         FROM schedule_runs
         WHERE schedule_id = $1 AND state IN ('STARTED', 'RETRYING')",
        schedule.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(ScheduleRun::try_from)
    .transpose()
}

/// The runs of a schedule, newest first. A page goes on behind a number.
#[tracing::instrument(name = "store.schedules.runs.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    schedule: ScheduleId,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<ScheduleRun>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT number, due_at, state, transaction_ids, failure_reason, failure_message,
             started_at, ended_at, retry_at
         FROM schedule_runs
         WHERE schedule_id = $1 AND ($2::integer IS NULL OR number < $2)
         ORDER BY number DESC
         LIMIT $3",
        schedule.uuid(),
        before,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(ScheduleRun::try_from)
    .collect()
}
