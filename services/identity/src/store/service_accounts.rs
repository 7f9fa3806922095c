//! Service accounts.

use bursar_aip::id::TenantId;
use sqlx::{PgConnection, query, query_as};
use time::OffsetDateTime;

/// A service account as stored. No `Debug`: the hash is nobody's business.
pub(crate) struct ServiceAccountRow {
    pub(crate) client_id: String,
    pub(crate) secret_hash: Vec<u8>,
    pub(crate) permissions: Vec<String>,
}

/// The account with this client id.
#[tracing::instrument(name = "store.service_accounts.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    client_id: &str,
) -> Result<Option<ServiceAccountRow>, sqlx::Error> {
    query_as!(
        ServiceAccountRow,
        "SELECT client_id, secret_hash, permissions
         FROM service_accounts
         WHERE tenant_id = $1 AND client_id = $2",
        tenant.as_str(),
        client_id,
    )
    .fetch_optional(conn)
    .await
}

/// Makes an account, or gives the one that exists this secret. What it is
/// permitted stays.
#[tracing::instrument(name = "store.service_accounts.upsert", skip_all)]
pub(crate) async fn upsert(
    conn: &mut PgConnection,
    tenant: &TenantId,
    client_id: &str,
    secret_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO service_accounts (tenant_id, client_id, secret_hash, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (tenant_id, client_id)
         DO UPDATE SET secret_hash = excluded.secret_hash, updated_at = excluded.updated_at
             WHERE service_accounts.secret_hash <> excluded.secret_hash",
        tenant.as_str(),
        client_id,
        secret_hash,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
