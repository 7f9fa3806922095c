//! What users prove who they are by.

use bursar_aip::id::{TenantId, UserId};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgConnection, query, query_scalar};
use time::OffsetDateTime;

use crate::domain::user::EmailAddress;

/// What a login needs to know of a user.
pub(crate) struct LoginRow {
    pub(crate) user: UserId,
    pub(crate) password_hash: SecretString,
}

/// Inserts a user's credentials.
#[tracing::instrument(name = "store.credentials.insert", skip_all, fields(user = %user))]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: UserId,
    password_hash: &SecretString,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO credentials (user_id, tenant_id, password_hash, updated_at)
         VALUES ($1, $2, $3, $4)",
        user.uuid(),
        tenant.as_str(),
        password_hash.expose_secret(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The credentials of the user with this address.
#[tracing::instrument(name = "store.credentials.find_for_login", skip_all)]
pub(crate) async fn find_for_login(
    conn: &mut PgConnection,
    tenant: &TenantId,
    email: &EmailAddress,
) -> Result<Option<LoginRow>, sqlx::Error> {
    let row = query!(
        "SELECT users.id, credentials.password_hash
         FROM users
         JOIN credentials ON credentials.user_id = users.id
         WHERE users.tenant_id = $1 AND users.email = $2",
        tenant.as_str(),
        email.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| LoginRow {
        user: UserId::from_uuid(row.id),
        password_hash: SecretString::from(row.password_hash),
    }))
}

/// Whether a user's password is still the one behind this hash. While the
/// transaction lasts it stays so: whoever changes it waits.
#[tracing::instrument(name = "store.credentials.hold", skip_all, fields(user = %user))]
pub(crate) async fn hold(
    conn: &mut PgConnection,
    user: UserId,
    password_hash: &str,
) -> Result<bool, sqlx::Error> {
    let unchanged = query_scalar!(
        r#"SELECT true AS "unchanged!"
         FROM credentials
         WHERE user_id = $1 AND password_hash = $2
         FOR SHARE"#,
        user.uuid(),
        password_hash,
    )
    .fetch_optional(conn)
    .await?;
    Ok(unchanged.is_some())
}

/// The hash of the password that an earlier start set; `None` for a user who
/// registered.
#[tracing::instrument(name = "store.credentials.bootstrap_hash", skip_all, fields(user = %user))]
pub(crate) async fn bootstrap_hash(
    conn: &mut PgConnection,
    user: UserId,
) -> Result<Option<SecretString>, sqlx::Error> {
    let row = query!(
        "SELECT bootstrap_hash FROM credentials WHERE user_id = $1",
        user.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(row.bootstrap_hash.map(SecretString::from))
}

/// Sets the password that the environment names.
#[tracing::instrument(name = "store.credentials.set_bootstrap_password", skip_all, fields(user = %user))]
pub(crate) async fn set_bootstrap_password(
    conn: &mut PgConnection,
    user: UserId,
    password_hash: &SecretString,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    query!(
        "UPDATE credentials
         SET password_hash = $2, bootstrap_hash = $2, updated_at = $3
         WHERE user_id = $1",
        user.uuid(),
        password_hash.expose_secret(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
