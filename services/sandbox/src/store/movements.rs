//! Movements.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::unreadable;
use crate::domain::{Kind, Movement, NewMovement, Plan, Source, SourceKind, Status};

/// A place in the order in which movements ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// When it ended.
    pub finished_at: OffsetDateTime,
    /// Its place among those that ended at the same time.
    pub position: i64,
}

/// A period, of which the end is not a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    /// Its first moment.
    pub from: OffsetDateTime,
    /// The first moment after it.
    pub to: OffsetDateTime,
}

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
    fee_minor: i64,
    refunded_minor: i64,
    source_kind: Option<String>,
    source_reference: Option<String>,
    created_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
}

impl Place {
    /// The place of a movement that has ended.
    pub(crate) fn of(movement: &Movement) -> Option<Self> {
        let position = movement.position;
        movement.finished_at.map(|finished_at| Self {
            finished_at,
            position,
        })
    }
}

impl TryFrom<Row> for Movement {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let status = Status::parse(&row.status).ok_or_else(|| unreadable("status"))?;
        let source = match (row.source_kind, row.source_reference) {
            (Some(kind), Some(reference)) => Some(Source {
                kind: SourceKind::parse(&kind).ok_or_else(|| unreadable("source_kind"))?,
                reference,
            }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(unreadable("source_reference")),
        };
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
            fee_minor: row.fee_minor,
            refunded_minor: row.refunded_minor,
            source,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

/// The movements of some rows.
fn read(rows: Vec<Row>) -> Result<Vec<Movement>, sqlx::Error> {
    rows.into_iter().map(Movement::try_from).collect()
}

/// Records a movement under a new id; `None` when the reference is taken.
/// Waits while another transaction is recording the same reference.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    asked: &NewMovement,
    plan: &Plan,
    fee_minor: i64,
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
              decline_code, created_at, settle_at, finished_at, fee_minor, source_kind,
              source_reference)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (kind, reference) DO NOTHING
         RETURNING position, kind, reference, movement_id, amount_minor, currency, description,
             status, decline_code, fee_minor, refunded_minor, source_kind, source_reference,
             created_at, finished_at",
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
        fee_minor,
        asked.source.as_ref().map(|source| source.kind.name()),
        asked
            .source
            .as_ref()
            .map(|source| source.reference.as_str()),
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
             status, decline_code, fee_minor, refunded_minor, source_kind, source_reference,
             created_at, finished_at
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
             status, decline_code, fee_minor, refunded_minor, source_kind, source_reference,
             created_at, finished_at
         FROM movements
         WHERE kind = $1 AND position > $2
         ORDER BY position
         LIMIT $3",
        kind.name(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
    .and_then(read)
}

/// At most `limit` movements that ended in a period, in the order in which they
/// ended, behind a place; only those of a status or kind when these are given.
pub(crate) async fn page(
    conn: &mut PgConnection,
    period: Period,
    (status, kind): (Option<Status>, Option<Kind>),
    after: Option<Place>,
    limit: i64,
) -> Result<Vec<Movement>, sqlx::Error> {
    // Positions start at 1.
    let after = after.unwrap_or(Place {
        finished_at: period.from,
        position: 0,
    });
    sqlx::query_as!(
        Row,
        "SELECT position, kind, reference, movement_id, amount_minor, currency, description,
             status, decline_code, fee_minor, refunded_minor, source_kind, source_reference,
             created_at, finished_at
         FROM movements
         WHERE (finished_at, position) > ($1, $2)
           AND finished_at >= $3 AND finished_at < $4
           AND ($5::text IS NULL OR status = $5)
           AND ($6::text IS NULL OR kind = $6)
         ORDER BY finished_at, position
         LIMIT $7",
        after.finished_at,
        after.position,
        period.from,
        period.to,
        status.map(Status::name),
        kind.map(Kind::name),
        limit,
    )
    .fetch_all(conn)
    .await
    .and_then(read)
}

/// Finishes at most `limit` pending movements whose time has come, as of that
/// time, and returns them as they are now.
pub(crate) async fn settle_due(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Movement>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "UPDATE movements
         SET status = CASE WHEN decline_code IS NULL THEN 'succeeded' ELSE 'declined' END,
             finished_at = settle_at
         WHERE position IN (
             SELECT position
             FROM movements
             WHERE status = 'pending' AND settle_at <= $1
             ORDER BY settle_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED
         )
         RETURNING position, kind, reference, movement_id, amount_minor, currency, description,
             status, decline_code, fee_minor, refunded_minor, source_kind, source_reference,
             created_at, finished_at",
        now,
        limit,
    )
    .fetch_all(conn)
    .await
    .and_then(read)
}
