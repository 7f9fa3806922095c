//! Refresh tokens. Every change happens while the session's row is locked.

use bursar_aip::id::SessionId;
use sqlx::{PgConnection, query, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::refresh::TokenState;

/// A refresh token to be.
pub(crate) struct NewRefreshToken<'a> {
    pub(crate) id: Uuid,
    pub(crate) tenant: &'a str,
    pub(crate) session: SessionId,
    pub(crate) hash: &'a [u8; 32],
    /// The token that is exchanged for this one; `None` for a login's.
    pub(crate) parent: Option<Uuid>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

/// A refresh token as stored.
pub(crate) struct RefreshTokenRow {
    pub(crate) id: Uuid,
    pub(crate) expires_at: OffsetDateTime,
    superseded: bool,
    successor_id: Option<Uuid>,
    successor_used: bool,
}

impl RefreshTokenRow {
    /// What became of the token.
    pub(crate) fn state(&self) -> TokenState {
        match self.successor_id {
            _ if self.superseded => TokenState::Superseded,
            None => TokenState::Live,
            Some(_) => TokenState::Used {
                successor_used: self.successor_used,
            },
        }
    }
}

/// Inserts a token. The unique index over live tokens refuses a second one in
/// a session.
#[tracing::instrument(name = "store.refresh_tokens.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    token: &NewRefreshToken<'_>,
) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO refresh_tokens
             (id, tenant_id, session_id, token_hash, parent_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        token.id,
        token.tenant,
        token.session.uuid(),
        token.hash,
        token.parent,
        token.created_at,
        token.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The session that a token belongs to. A token never changes its session, so
/// this needs no lock.
#[tracing::instrument(name = "store.refresh_tokens.session_of", skip_all)]
pub(crate) async fn session_of(
    conn: &mut PgConnection,
    hash: &[u8; 32],
) -> Result<Option<SessionId>, sqlx::Error> {
    let id = query_scalar!(
        "SELECT session_id FROM refresh_tokens WHERE token_hash = $1",
        hash,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(SessionId::from_uuid))
}

/// A token with what became of it. Only meaningful once the session is locked,
/// and so a statement after the one that locks it: a statement that waited for
/// the lock would see the family as it was before.
#[tracing::instrument(name = "store.refresh_tokens.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    hash: &[u8; 32],
) -> Result<Option<RefreshTokenRow>, sqlx::Error> {
    query_as!(
        RefreshTokenRow,
        r#"SELECT token.id, token.expires_at, token.successor_id,
             token.superseded_at IS NOT NULL AS "superseded!",
             successor.used_at IS NOT NULL AS "successor_used!"
         FROM refresh_tokens AS token
         LEFT JOIN refresh_tokens AS successor ON successor.id = token.successor_id
         WHERE token.token_hash = $1"#,
        hash,
    )
    .fetch_optional(conn)
    .await
}

/// Marks a live token used, in exchange for `successor`.
#[tracing::instrument(name = "store.refresh_tokens.mark_used", skip_all)]
pub(crate) async fn mark_used(
    conn: &mut PgConnection,
    token: Uuid,
    successor: Uuid,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    query!(
        "UPDATE refresh_tokens SET used_at = $3, successor_id = $2 WHERE id = $1",
        token,
        successor,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a used token another successor; the unused one it had is superseded.
#[tracing::instrument(name = "store.refresh_tokens.replace_successor", skip_all)]
pub(crate) async fn replace_successor(
    conn: &mut PgConnection,
    token: Uuid,
    successor: Uuid,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    query!(
        "UPDATE refresh_tokens
         SET superseded_at = $2
         WHERE id = (SELECT successor_id FROM refresh_tokens WHERE id = $1)",
        token,
        now,
    )
    .execute(&mut *conn)
    .await?;
    query!(
        "UPDATE refresh_tokens SET successor_id = $2 WHERE id = $1",
        token,
        successor,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes at most `limit` tokens that expired, oldest first, and says how many went.
#[tracing::instrument(name = "store.refresh_tokens.delete_expired", skip_all)]
pub(crate) async fn delete_expired(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = query!(
        "DELETE FROM refresh_tokens
         WHERE id IN (
             SELECT id
             FROM refresh_tokens
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
