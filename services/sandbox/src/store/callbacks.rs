//! The outbox of notices to the customer.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::Kind;

/// A notice that is due.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// Its id.
    pub id: Uuid,
    /// The body, as it is signed and sent.
    pub body: String,
    /// How often it was tried, this time included.
    pub attempts: i32,
}

/// Records a notice in the transaction of what it tells.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    id: Uuid,
    kind: Kind,
    reference: &str,
    body: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO callbacks (callback_id, kind, reference, body, next_attempt_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $5)",
        id,
        kind.name(),
        reference,
        body,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes at most `limit` notices whose time has come and puts their next try
/// off by `lease`, which covers a process that dies while it sends them.
pub(crate) async fn take_due(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as!(
        Due,
        "UPDATE callbacks
         SET attempts = attempts + 1, next_attempt_at = $2
         WHERE callback_id IN (
             SELECT callback_id
             FROM callbacks
             WHERE next_attempt_at <= $1
             ORDER BY next_attempt_at
             LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         RETURNING callback_id AS id, body, attempts",
        now,
        now + lease,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Records that a notice was taken.
pub(crate) async fn delivered(
    conn: &mut PgConnection,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE callbacks SET delivered_at = $2, next_attempt_at = NULL WHERE callback_id = $1",
        id,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that a notice was not taken, and when it is tried again, if ever.
pub(crate) async fn failed(
    conn: &mut PgConnection,
    id: Uuid,
    next_attempt_at: Option<OffsetDateTime>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE callbacks SET next_attempt_at = $2
         WHERE callback_id = $1 AND delivered_at IS NULL",
        id,
        next_attempt_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}
