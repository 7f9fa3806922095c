//! Authorisations.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{cards, unreadable};
use crate::domain::{
    Authorization, AuthorizationStatus, Card, LIFETIME, NewAuthorization, Plan, Status,
};

struct Row {
    position: i64,
    reference: String,
    authorization_id: Uuid,
    card_token: String,
    last4: String,
    brand: String,
    behaviour: Option<String>,
    amount_minor: i64,
    captured_minor: i64,
    currency: String,
    description: String,
    status: String,
    decline_code: Option<String>,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Authorization {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let status = AuthorizationStatus::parse(&row.status).ok_or_else(|| unreadable("status"))?;
        Ok(Self {
            position: row.position,
            reference: row.reference,
            id: row.authorization_id,
            card: Card {
                token: row.card_token,
                last4: row.last4,
                brand: row.brand,
                behaviour: cards::behaviour(row.behaviour)?,
            },
            amount_minor: row.amount_minor,
            captured_minor: row.captured_minor,
            currency: row.currency,
            description: row.description,
            status,
            // The reason of a refusal to come is not told before it.
            decline_code: row
                .decline_code
                .filter(|_| status == AuthorizationStatus::Declined),
            created_at: row.created_at,
            expires_at: row.expires_at,
            finished_at: row.finished_at,
        })
    }
}

/// Records an authorisation under a new id; false when the reference is taken.
/// Waits while another transaction is recording the same reference.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    asked: &NewAuthorization,
    plan: &Plan,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let status = match plan.first_status() {
        Status::Pending => AuthorizationStatus::Pending,
        Status::Succeeded => AuthorizationStatus::Authorized,
        Status::Declined => AuthorizationStatus::Declined,
    };
    let settle_at = plan.settles_after().map(|delay| now + delay);
    let finished_at = (status == AuthorizationStatus::Declined).then_some(now);
    let done = sqlx::query!(
        "INSERT INTO card_authorizations
             (reference, authorization_id, card_token, amount_minor, currency, description, status,
              decline_code, created_at, settle_at, expires_at, finished_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (reference) DO NOTHING",
        asked.reference,
        id,
        asked.card.token,
        asked.amount_minor,
        asked.currency,
        asked.description,
        status.name(),
        plan.decline_code(),
        now,
        settle_at,
        now + LIFETIME,
        finished_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The authorisation of a reference.
pub(crate) async fn find(
    conn: &mut PgConnection,
    reference: &str,
) -> Result<Option<Authorization>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT position, reference, authorization_id, card_token, last4, brand, behaviour,
             amount_minor, captured_minor, currency, description, status, decline_code,
             card_authorizations.created_at, expires_at, finished_at
         FROM card_authorizations JOIN card_tokens ON token = card_token
         WHERE reference = $1",
        reference,
    )
    .fetch_optional(conn)
    .await?
    .map(Authorization::try_from)
    .transpose()
}

/// The authorisation of a reference, which nobody else changes until the
/// transaction ends.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    reference: &str,
) -> Result<Option<Authorization>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT position, reference, authorization_id, card_token, last4, brand, behaviour,
             amount_minor, captured_minor, currency, description, status, decline_code,
             card_authorizations.created_at, expires_at, finished_at
         FROM card_authorizations JOIN card_tokens ON token = card_token
         WHERE reference = $1
         FOR UPDATE OF card_authorizations",
        reference,
    )
    .fetch_optional(conn)
    .await?
    .map(Authorization::try_from)
    .transpose()
}

/// At most `limit` authorisations, oldest first, behind a place in the list.
pub(crate) async fn list(
    conn: &mut PgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<Authorization>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT position, reference, authorization_id, card_token, last4, brand, behaviour,
             amount_minor, captured_minor, currency, description, status, decline_code,
             card_authorizations.created_at, expires_at, finished_at
         FROM card_authorizations JOIN card_tokens ON token = card_token
         WHERE position > $1
         ORDER BY position
         LIMIT $2",
        after,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Authorization::try_from)
    .collect()
}

/// Gives up what is left of an authorisation that the transaction has locked.
pub(crate) async fn void(
    conn: &mut PgConnection,
    reference: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE card_authorizations
         SET status = 'voided', finished_at = $2
         WHERE reference = $1 AND status = 'authorized'",
        reference,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Answers at most `limit` pending authorisations whose time has come, and
/// returns their references.
pub(crate) async fn settle_due(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE card_authorizations
         SET status = CASE WHEN decline_code IS NULL THEN 'authorized' ELSE 'declined' END,
             finished_at = CASE WHEN decline_code IS NULL THEN NULL ELSE settle_at END
         WHERE position IN (
             SELECT position
             FROM card_authorizations
             WHERE status = 'pending' AND settle_at <= $1
             ORDER BY settle_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED
         )
         RETURNING reference",
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Gives up what is left of at most `limit` authorisations whose time is over,
/// and returns their references.
pub(crate) async fn expire_due(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE card_authorizations
         SET status = 'expired', finished_at = expires_at
         WHERE position IN (
             SELECT position
             FROM card_authorizations
             WHERE status = 'authorized' AND captured_minor < amount_minor AND expires_at <= $1
             ORDER BY expires_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED
         )
         RETURNING reference",
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}
