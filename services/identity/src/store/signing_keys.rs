//! Signing keys, their private halves sealed.

use bursar_aip::id::TenantId;
use sqlx::{PgConnection, query, query_as};
use time::OffsetDateTime;
use uuid::Uuid;

/// A signing key to be.
pub(crate) struct NewSigningKey<'a> {
    pub(crate) id: Uuid,
    pub(crate) tenant: &'a TenantId,
    pub(crate) kid: &'a str,
    pub(crate) public_key: &'a [u8; 32],
    pub(crate) sealed_seed: &'a [u8],
    pub(crate) created_at: OffsetDateTime,
    pub(crate) not_before: OffsetDateTime,
}

/// A signing key as stored.
pub(crate) struct SigningKeyRow {
    pub(crate) id: Uuid,
    pub(crate) kid: String,
    pub(crate) public_key: Vec<u8>,
    pub(crate) sealed_seed: Vec<u8>,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) retired_at: Option<OffsetDateTime>,
}

/// The keys that are not retired at `now`.
#[tracing::instrument(name = "store.signing_keys.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<Vec<SigningKeyRow>, sqlx::Error> {
    query_as!(
        SigningKeyRow,
        "SELECT id, kid, public_key, sealed_seed, not_before, retired_at
         FROM signing_keys
         WHERE retired_at IS NULL OR retired_at > $1
         ORDER BY not_before",
        now,
    )
    .fetch_all(conn)
    .await
}

/// Inserts a key.
#[tracing::instrument(name = "store.signing_keys.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    key: &NewSigningKey<'_>,
) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO signing_keys (id, tenant_id, kid, public_key, sealed_seed, created_at, not_before)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        key.id,
        key.tenant.as_str(),
        key.kid,
        key.public_key,
        key.sealed_seed,
        key.created_at,
        key.not_before,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives every key that has no end yet one, except `except`.
#[tracing::instrument(name = "store.signing_keys.retire_others", skip_all)]
pub(crate) async fn retire_others(
    conn: &mut PgConnection,
    except: Uuid,
    retired_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    query!(
        "UPDATE signing_keys SET retired_at = $2 WHERE retired_at IS NULL AND id <> $1",
        except,
        retired_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}
