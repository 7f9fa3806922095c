//! The table of claimed keys.

use bursar_crash::canary;
use sqlx::{PgConnection, query, query_as};
use time::OffsetDateTime;
use tonic::Code;
use uuid::Uuid;

use super::answer::{Answer, Kind};
use super::{Scope, TTL};

/// How often [`claim`] looks again after the row it met went away. Each time
/// needs another transaction to end in between, so one or two is usual.
const MAX_ATTEMPTS: usize = 8;

/// What a request finds when it claims its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key is ours: do the work and [`complete`] it.
    Claimed,
    /// The request was answered before: answer the same.
    Replay(Answer),
    /// The key was used with another request.
    Reused,
    /// The first request has committed its claim and no answer yet.
    InUse {
        /// What the first request is about to make, if it said so.
        resource: Option<Uuid>,
    },
}

/// Claims the key of a request, or says what became of its first request.
///
/// `conn` must be inside the transaction that will hold the effect, so that
/// both commit or neither. While another transaction holds an uncommitted claim
/// on the key, this waits for its end. `resource` is the id of what the request
/// will make, for whoever finds the claim unanswered. `now` decides about expiry.
pub async fn claim(
    conn: &mut PgConnection,
    scope: &Scope<'_>,
    fingerprint: [u8; 32],
    resource: Option<Uuid>,
    now: OffsetDateTime,
) -> Result<Claim, sqlx::Error> {
    for _ in 0..MAX_ATTEMPTS {
        let is_new = insert(conn, scope, &fingerprint, resource, now).await?;
        if is_new || canary!("idempotency.claim_ignored") {
            return Ok(Claim::Claimed);
        }
        let Some(found) = find(conn, scope).await? else {
            // The row went between the two statements: released, or deleted
            // after its expiry.
            continue;
        };
        if found.expires_at > now {
            return Ok(found.against(&fingerprint));
        }
        if take_over(conn, scope, &fingerprint, resource, now).await? {
            return Ok(Claim::Claimed);
        }
        // Another request took the expired key over first: look at its claim.
    }
    // The key changes hands faster than we can look; the caller tries again.
    Ok(Claim::InUse { resource: None })
}

/// Records the answer to a claimed request, in the transaction of its effect.
///
/// Fails with `RowNotFound` when the claim is gone or already answered: the
/// caller's transaction must then not commit. A claim is the caller's for
/// [`TTL`], which no call's deadline comes near; an answer must not come later.
pub async fn complete(
    conn: &mut PgConnection,
    scope: &Scope<'_>,
    answer: &Answer,
) -> Result<(), sqlx::Error> {
    let (code, message, body) = answer.columns();
    let done = query!(
        "UPDATE idempotency_keys
         SET answer_code = $5, answer_message = $6, answer_body = $7
         WHERE tenant_id = $1 AND principal = $2 AND method = $3 AND key = $4
           AND answer_code IS NULL",
        scope.tenant.as_str(),
        scope.principal,
        scope.method,
        scope.key.as_str(),
        code,
        message,
        body,
    )
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// Drops a committed claim whose request failed transiently, so that the
/// caller's next try starts anew. A claim with an answer stays.
pub async fn release(conn: &mut PgConnection, scope: &Scope<'_>) -> Result<(), sqlx::Error> {
    query!(
        "DELETE FROM idempotency_keys
         WHERE tenant_id = $1 AND principal = $2 AND method = $3 AND key = $4
           AND answer_code IS NULL",
        scope.tenant.as_str(),
        scope.principal,
        scope.method,
        scope.key.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes at most `limit` expired keys, oldest first, and says how many went.
/// Keys that a request holds at the moment are left for the next round.
pub async fn delete_expired(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = query!(
        "DELETE FROM idempotency_keys AS keys
         USING (
             SELECT tenant_id, principal, method, key
             FROM idempotency_keys
             WHERE expires_at <= $1
             ORDER BY expires_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED
         ) AS expired
         WHERE keys.tenant_id = expired.tenant_id AND keys.principal = expired.principal
           AND keys.method = expired.method AND keys.key = expired.key",
        now,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A row of the table.
pub(super) struct Found {
    pub(super) fingerprint: Vec<u8>,
    pub(super) resource: Option<Uuid>,
    pub(super) answer_code: Option<i16>,
    pub(super) answer_message: Option<Vec<u8>>,
    pub(super) answer_body: Option<Vec<u8>>,
    pub(super) expires_at: OffsetDateTime,
}

impl Found {
    /// What a request with this fingerprint is told.
    pub(super) fn against(self, fingerprint: &[u8; 32]) -> Claim {
        if self.fingerprint != fingerprint && !canary!("idempotency.body_ignored") {
            return Claim::Reused;
        }
        let (Some(code), Some(body)) = (self.answer_code, self.answer_body) else {
            return Claim::InUse {
                resource: self.resource,
            };
        };
        let code = Code::from_i32(i32::from(code));
        Claim::Replay(Answer(if code == Code::Ok {
            Kind::Response(body)
        } else {
            let message = self.answer_message.unwrap_or_default();
            Kind::Error {
                code,
                message: String::from_utf8_lossy(&message).into_owned(),
                details: body,
            }
        }))
    }
}

/// Inserts the claim unless the key has a row. Waits while another transaction
/// has an uncommitted row for the key.
async fn insert(
    conn: &mut PgConnection,
    scope: &Scope<'_>,
    fingerprint: &[u8; 32],
    resource: Option<Uuid>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = query!(
        "INSERT INTO idempotency_keys
             (tenant_id, principal, method, key, fingerprint, resource, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id, principal, method, key) DO NOTHING",
        scope.tenant.as_str(),
        scope.principal,
        scope.method,
        scope.key.as_str(),
        fingerprint,
        resource,
        now,
        now + TTL,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn find(conn: &mut PgConnection, scope: &Scope<'_>) -> Result<Option<Found>, sqlx::Error> {
    query_as!(
        Found,
        "SELECT fingerprint, resource, answer_code, answer_message, answer_body, expires_at
         FROM idempotency_keys
         WHERE tenant_id = $1 AND principal = $2 AND method = $3 AND key = $4",
        scope.tenant.as_str(),
        scope.principal,
        scope.method,
        scope.key.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// Makes an expired row ours. The condition is checked again after any wait
/// for the row, so of several requests exactly one takes it over.
async fn take_over(
    conn: &mut PgConnection,
    scope: &Scope<'_>,
    fingerprint: &[u8; 32],
    resource: Option<Uuid>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let taken = query!(
        "UPDATE idempotency_keys
         SET fingerprint = $5, resource = $6, created_at = $7, expires_at = $8,
             answer_code = NULL, answer_message = NULL, answer_body = NULL
         WHERE tenant_id = $1 AND principal = $2 AND method = $3 AND key = $4
           AND expires_at <= $7",
        scope.tenant.as_str(),
        scope.principal,
        scope.method,
        scope.key.as_str(),
        fingerprint,
        resource,
        now,
        now + TTL,
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}
