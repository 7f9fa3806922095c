//! The durable inbox of providers' callbacks.

use bursar_aip::id::{TenantId, TransactionId};
use bursar_server::canary;
use sqlx::PgConnection;

use super::checks;
use crate::domain::ProviderName;

/// A callback as it came, verified.
#[derive(Clone, Debug)]
pub(crate) struct Received<'a> {
    /// Who sent it.
    pub(crate) provider: &'a ProviderName,
    /// The provider's id of it.
    pub(crate) id: &'a str,
    /// What it is about, in the provider's words.
    pub(crate) kind: &'a str,
    /// Our name of what it is about, as the provider tells it.
    pub(crate) reference: &'a str,
    /// The body, byte for byte.
    pub(crate) body: &'a [u8],
}

/// Records a callback and brings the check of its transaction forward. One that
/// was recorded before changes nothing; one that is about no transaction (yet)
/// is kept for [`match_later`].
#[tracing::instrument(name = "store.callbacks.record", skip_all)]
pub(crate) async fn record(
    conn: &mut PgConnection,
    received: &Received<'_>,
) -> Result<(), sqlx::Error> {
    let transaction: Option<TransactionId> = received.reference.parse().ok();
    // Known callbacks get the tenant of their transaction.
    let tenant = TenantId::default();
    let recorded = sqlx::query_scalar!(
        "INSERT INTO provider_callbacks
             (provider, callback_id, tenant_id, kind, reference, body, transaction_id, matched_at)
         SELECT $1, $2, coalesce(known.tenant_id, $7), $3, $4, $5, known.transaction_id,
             CASE WHEN known.transaction_id IS NOT NULL THEN clock_timestamp() END
         FROM (VALUES (1)) AS one
         LEFT JOIN transactions AS known
             ON known.transaction_id = $6 AND known.provider = $1
         ON CONFLICT (provider, callback_id) DO NOTHING
         RETURNING transaction_id",
        received.provider.as_str(),
        received.id,
        received.kind,
        received.reference,
        received.body,
        transaction.map(TransactionId::uuid),
        tenant.as_str(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    match recorded.flatten() {
        Some(matched) => checks::nudge(conn, TransactionId::from_uuid(matched)).await,
        None => Ok(()),
    }
}

/// Matches callbacks of the last days that came before their transaction was
/// committed, at most `limit`, and brings the checks forward. Returns how many.
#[tracing::instrument(name = "store.callbacks.match_later", skip_all)]
pub(crate) async fn match_later(conn: &mut PgConnection, limit: i64) -> Result<u64, sqlx::Error> {
    if canary!("callback.early_forgotten") {
        return Ok(0);
    }
    let matched = sqlx::query_scalar!(
        r#"UPDATE provider_callbacks AS callbacks
         SET transaction_id = found.transaction_id, matched_at = clock_timestamp()
         FROM (
             SELECT waiting.provider, waiting.callback_id, transactions.transaction_id
             FROM (
                 SELECT provider, callback_id, reference
                 FROM provider_callbacks
                 WHERE transaction_id IS NULL
                   AND received_at > clock_timestamp() - interval '7 days'
                 ORDER BY received_at DESC
                 LIMIT $1
                 FOR UPDATE SKIP LOCKED
             ) AS waiting
             JOIN transactions
                 ON 'txn_' || transactions.transaction_id::text = waiting.reference
                AND transactions.provider = waiting.provider
         ) AS found
         WHERE callbacks.provider = found.provider AND callbacks.callback_id = found.callback_id
         RETURNING callbacks.transaction_id AS "transaction_id!""#,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let count = matched.len();
    for transaction in matched {
        checks::nudge(conn, TransactionId::from_uuid(transaction)).await?;
    }
    Ok(count as u64)
}
