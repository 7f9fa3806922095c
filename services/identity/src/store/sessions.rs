//! Sessions.

use bursar_aip::id::{SessionId, TenantId, UserId};
use sqlx::{PgConnection, query, query_as};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::session::EndReason;

/// The version of a session's first event.
pub(crate) const FIRST_VERSION: i64 = 1;

/// A session to be.
pub(crate) struct NewSession<'a> {
    pub(crate) id: SessionId,
    pub(crate) tenant: &'a TenantId,
    pub(crate) user: UserId,
    pub(crate) user_agent: &'a str,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

/// Whether a session can be used.
pub(crate) struct Liveness {
    pub(crate) ended_at: Option<OffsetDateTime>,
    pub(crate) expires_at: OffsetDateTime,
}

/// A session whose row is locked.
pub(crate) struct LockedSession {
    pub(crate) tenant_id: String,
    pub(crate) user_id: Uuid,
    pub(crate) ended_at: Option<OffsetDateTime>,
    pub(crate) expires_at: OffsetDateTime,
}

/// A living session as its user sees it. No `Debug`: the user agent is personal data.
pub(crate) struct SessionRow {
    pub(crate) id: Uuid,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) last_used_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) user_agent: String,
}

/// A session that was just ended.
pub(crate) struct EndedSession {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
}

/// Inserts a session.
#[tracing::instrument(name = "store.sessions.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    session: &NewSession<'_>,
) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO sessions
             (id, tenant_id, user_id, user_agent, version, created_at, last_used_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
        session.id.uuid(),
        session.tenant.as_str(),
        session.user.uuid(),
        session.user_agent,
        FIRST_VERSION,
        session.created_at,
        session.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a user's session can be used; `None` when the user has no such session.
#[tracing::instrument(name = "store.sessions.liveness", skip_all, fields(user = %user, session = %session))]
pub(crate) async fn liveness(
    conn: &mut PgConnection,
    user: UserId,
    session: SessionId,
) -> Result<Option<Liveness>, sqlx::Error> {
    query_as!(
        Liveness,
        "SELECT ended_at, expires_at FROM sessions WHERE id = $1 AND user_id = $2",
        session.uuid(),
        user.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Locks a session, and with it its refresh tokens.
#[tracing::instrument(name = "store.sessions.lock", skip_all, fields(session = %session))]
pub(crate) async fn lock(
    conn: &mut PgConnection,
    session: SessionId,
) -> Result<Option<LockedSession>, sqlx::Error> {
    query_as!(
        LockedSession,
        "SELECT tenant_id, user_id, ended_at, expires_at
         FROM sessions
         WHERE id = $1
         FOR NO KEY UPDATE",
        session.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Notes that a session was refreshed.
#[tracing::instrument(name = "store.sessions.touch", skip_all, fields(session = %session))]
pub(crate) async fn touch(
    conn: &mut PgConnection,
    session: SessionId,
    used_at: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    query!(
        "UPDATE sessions SET last_used_at = $2, expires_at = $3 WHERE id = $1",
        session.uuid(),
        used_at,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a user's session and returns the version of the event that tells of
/// it; `None` when the user has no such session alive at `now`.
#[tracing::instrument(name = "store.sessions.end", skip_all, fields(user = %user, session = %session))]
pub(crate) async fn end(
    conn: &mut PgConnection,
    user: UserId,
    session: SessionId,
    reason: EndReason,
    now: OffsetDateTime,
) -> Result<Option<EndedSession>, sqlx::Error> {
    query_as!(
        EndedSession,
        "UPDATE sessions
         SET ended_at = $4, end_reason = $3, version = version + 1
         WHERE id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $4
         RETURNING id, version",
        session.uuid(),
        user.uuid(),
        reason.as_str(),
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Ends at most `limit` of a user's living sessions, oldest first.
#[tracing::instrument(name = "store.sessions.end_some", skip_all, fields(user = %user))]
pub(crate) async fn end_some(
    conn: &mut PgConnection,
    user: UserId,
    reason: EndReason,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<EndedSession>, sqlx::Error> {
    query_as!(
        EndedSession,
        "UPDATE sessions
         SET ended_at = $3, end_reason = $2, version = version + 1
         WHERE id IN (
             SELECT id
             FROM sessions
             WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $3
             ORDER BY id
             LIMIT $4
             FOR NO KEY UPDATE
         )
         RETURNING id, version",
        user.uuid(),
        reason.as_str(),
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// A user's living sessions, newest first, from behind `after` on.
#[tracing::instrument(name = "store.sessions.list", skip_all, fields(user = %user))]
pub(crate) async fn list(
    conn: &mut PgConnection,
    user: UserId,
    after: Option<(OffsetDateTime, Uuid)>,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<SessionRow>, sqlx::Error> {
    let (after_at, after_id) = after.unzip();
    query_as!(
        SessionRow,
        "SELECT id, created_at, last_used_at, expires_at, user_agent
         FROM sessions
         WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2
           AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
         ORDER BY created_at DESC, id DESC
         LIMIT $5",
        user.uuid(),
        now,
        after_at,
        after_id,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Deletes at most `limit` sessions that expired, with their refresh tokens,
/// oldest first, and says how many went. Those in use are left for the next round.
#[tracing::instrument(name = "store.sessions.delete_expired", skip_all)]
pub(crate) async fn delete_expired(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = query!(
        "DELETE FROM sessions
         WHERE id IN (
             SELECT id
             FROM sessions
             WHERE expires_at <= $1
             ORDER BY expires_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED
         )",
        now,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}
