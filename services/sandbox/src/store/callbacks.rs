//! The outbox of notices to the customer.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::NoticeFault;

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

/// A notice that is to be recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New<'a> {
    /// Its id.
    pub id: Uuid,
    /// What it is about, such as `charge`.
    pub kind: &'a str,
    /// The customer's name for that.
    pub reference: &'a str,
    /// The body, byte for byte as it is signed and sent.
    pub body: &'a str,
    /// What goes wrong with it.
    pub fault: Option<NoticeFault>,
}

/// Records a notice in the transaction of what it tells. `now` is the real time,
/// `clock` what the provider's clock shows.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: New<'_>,
    now: OffsetDateTime,
    clock: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let is_dropped = new.fault == Some(NoticeFault::Drop);
    let copies = new.fault.and_then(NoticeFault::copies).unwrap_or(0);
    let not_before = new.fault.and_then(NoticeFault::delay);
    sqlx::query!(
        "INSERT INTO callbacks (callback_id, kind, reference, body, next_attempt_at, created_at,
             copies_left, not_before, waits_for_later)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        new.id,
        new.kind,
        new.reference,
        new.body,
        (!is_dropped).then_some(now),
        now,
        i32::from(copies),
        not_before.map(|delay| clock + delay),
        matches!(new.fault, Some(NoticeFault::Reorder(_))),
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
    clock: OffsetDateTime,
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
             WHERE next_attempt_at <= $1 AND (not_before IS NULL OR not_before <= $4)
             ORDER BY next_attempt_at
             LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         RETURNING callback_id AS id, body, attempts",
        now,
        now + lease,
        limit,
        clock,
    )
    .fetch_all(conn)
    .await
}

/// Records that a notice was taken: it is sent again while copies are left, and
/// earlier ones that waited for a later one wait no longer.
pub(crate) async fn delivered(
    conn: &mut PgConnection,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE callbacks
         SET delivered_at = $2::timestamptz,
             next_attempt_at = CASE WHEN copies_left > 0 THEN $2::timestamptz END,
             copies_left = greatest(copies_left - 1, 0)
         WHERE callback_id = $1",
        id,
        now,
    )
    .execute(&mut *conn)
    .await?;
    // Ids of version 7 grow with time.
    sqlx::query!(
        "UPDATE callbacks
         SET waits_for_later = false, not_before = NULL
         WHERE waits_for_later AND callback_id < $1",
        id,
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
