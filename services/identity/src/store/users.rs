//! Users.

use bursar_aip::id::{TenantId, UserId};
use sqlx::{PgConnection, query, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::user::{DisplayName, EmailAddress};

/// The version of a user's first event.
pub(crate) const FIRST_VERSION: i64 = 1;

/// A user to be.
pub(crate) struct NewUser<'a> {
    pub(crate) id: UserId,
    pub(crate) tenant: &'a TenantId,
    pub(crate) email: &'a EmailAddress,
    pub(crate) display_name: &'a DisplayName,
    pub(crate) created_at: OffsetDateTime,
}

/// A user as stored. No `Debug`: address and name are personal data.
pub(crate) struct UserRow {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) created_at: OffsetDateTime,
}

/// Inserts a user; `false` when the e-mail address has one. A concurrent
/// registration of the address is waited for.
#[tracing::instrument(name = "store.users.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    user: &NewUser<'_>,
) -> Result<bool, sqlx::Error> {
    let inserted = query!(
        "INSERT INTO users (id, tenant_id, email, display_name, version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT ON CONSTRAINT users_email_key DO NOTHING",
        user.id.uuid(),
        user.tenant.as_str(),
        user.email.as_str(),
        user.display_name.as_str(),
        FIRST_VERSION,
        user.created_at,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The user with this id.
#[tracing::instrument(name = "store.users.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: UserId,
) -> Result<Option<UserRow>, sqlx::Error> {
    query_as!(
        UserRow,
        "SELECT id, email, display_name, created_at
         FROM users
         WHERE tenant_id = $1 AND id = $2",
        tenant.as_str(),
        id.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// The id of the user with this address, locked so that its credentials and
/// roles can be changed.
#[tracing::instrument(name = "store.users.lock_by_email", skip_all)]
pub(crate) async fn lock_by_email(
    conn: &mut PgConnection,
    tenant: &TenantId,
    email: &EmailAddress,
) -> Result<Option<UserId>, sqlx::Error> {
    let id = query_scalar!(
        "SELECT id
         FROM users
         WHERE tenant_id = $1 AND email = $2
         FOR NO KEY UPDATE",
        tenant.as_str(),
        email.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(UserId::from_uuid))
}
