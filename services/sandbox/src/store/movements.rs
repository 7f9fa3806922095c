//! Charges and payouts.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::unreadable;
use crate::domain::{Kind, Movement, NewMovement, Plan, Status};

struct Row {
    position: i64,
    kind: String,
    reference: String,
    movement_id: Uuid,
    amount_minor: i64,
    currency: String,
    description: String,
    status: String,
    decline_code: Option<String>,
    created_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Movement {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let status = Status::parse(&row.status).ok_or_else(|| unreadable("status"))?;
        Ok(Self {
            position: row.position,
            kind: Kind::parse(&row.kind).ok_or_else(|| unreadable("kind"))?,
            reference: row.reference,
            id: row.movement_id,
            amount_minor: row.amount_minor,
            currency: row.currency,
            description: row.description,
            status,
            // The reason of a refusal to come is not told before it.
            decline_code: row.decline_code.filter(|_| status == Status::Declined),
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

/// Records a movement under a new id; `None` when the reference is taken.
/// Waits while another transaction is recording the same reference.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    asked: &NewMovement,
    plan: &Plan,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Movement>, sqlx::Error> {
    let status = plan.first_status();
    let settle_at = plan.settles_after().map(|delay| now + delay);
    let finished_at = (status != Status::Pending).then_some(now);
    sqlx::query_as!(
        Row,
        "INSERT INTO movements
             (kind, reference, movement_id, amount_minor, currency, description, status,
              decline_code, created_at, settle_at, finished_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (kind, reference) DO NOTHING
         RETURNING position, kind, reference, movement_id, amount_minor, currency, description,
             status, decline_code, created_at, finished_at",
        asked.kind.name(),
        asked.reference,
        id,
        asked.amount_minor,
        asked.currency,
        asked.description,
        status.name(),
        plan.decline_code(),
        now,
        settle_at,
        finished_at,
    )
    .fetch_optional(conn)
    .await?
    .map(Movement::try_from)
    .transpose()
}

/// The movement of a reference.
pub(crate) async fn find(
    conn: &mut PgConnection,
    kind: Kind,
    reference: &str,
) -> Result<Option<Movement>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT position, kind, reference, movement_id, amount_minor, currency, description,
             status, decline_code, created_at, finished_at
         FROM movements
         WHERE kind = $1 AND reference = $2",
        kind.name(),
        reference,
    )
    .fetch_optional(conn)
    .await?
    .map(Movement::try_from)
    .transpose()
}

/// At most `limit` movements of a kind, oldest first, behind a place in the list.
pub(crate) async fn list(
    conn: &mut PgConnection,
    kind: Kind,
    after: i64,
    limit: i64,
) -> Result<Vec<Movement>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT position, kind, reference, movement_id, amount_minor, currency, description,
             status, decline_code, created_at, finished_at
         FROM movements
         WHERE kind = $1 AND position > $2
         ORDER BY position
         LIMIT $3",
        kind.name(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Movement::try_from)
    .collect()
}

/// Finishes at most `limit` pending movements whose time has come, and returns
/// them as they are now.
pub(crate) async fn settle_due(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Movement>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "UPDATE movements
         SET status = CASE WHEN decline_code IS NULL THEN 'succeeded' ELSE 'declined' END,
             finished_at = $1
         WHERE position IN (
             SELECT position
             FROM movements
             WHERE status = 'pending' AND settle_at <= $1
             ORDER BY settle_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED
         )
         RETURNING position, kind, reference, movement_id, amount_minor, currency, description,
             status, decline_code, created_at, finished_at",
        now,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Movement::try_from)
    .collect()
}
