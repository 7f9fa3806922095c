//! Pages of transactions, newest first.
//!
//! Ids are UUIDv7, so the order of ids is the order of creation and a page goes
//! on behind an id. What a user sees is two sets that do not meet: what the
//! user started, and what others sent that reached the user.

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use sqlx::PgConnection;

use super::transactions::{Row, Stored};

/// What a list is limited to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// The last id of the page before.
    pub(crate) before: Option<TransactionId>,
    /// How many to return at most.
    pub(crate) limit: i64,
}

/// The transactions that a user started, or that completed into a wallet of
/// the user's, of all wallets or of one.
#[tracing::instrument(name = "store.lists.of_user", skip_all)]
pub(crate) async fn of_user(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: UserId,
    wallet: Option<WalletId>,
    page: Page,
) -> Result<Vec<Stored>, sqlx::Error> {
    // Each half reads its own index and stops at the limit. A beneficiary is
    // set by `transaction.completed` only.
    sqlx::query_as!(
        Row,
        r#"SELECT transaction_id AS "transaction_id!", tenant_id AS "tenant_id!", kind AS "kind!",
             state AS "state!", currency_code AS "currency_code!", amount_minor AS "amount_minor!",
             from_wallet_id, to_wallet_id, provider, initiator_user_id AS "initiator_user_id!",
             description AS "description!", hold_id, provider_requests AS "provider_requests!",
             provider_requested_at, provider_reference, decline_code, unknown_since,
             failure_reason, failure_message, review_cause, beneficiary_user_id, posted_at,
             created_at AS "created_at!", updated_at AS "updated_at!", version AS "version!"
         FROM (
             (
                 SELECT *
                 FROM transactions
                 WHERE initiator_user_id = $1
                   AND tenant_id = $2
                   AND ($3::uuid IS NULL OR from_wallet_id = $3 OR to_wallet_id = $3)
                   AND ($4::uuid IS NULL OR transaction_id < $4)
                 ORDER BY transaction_id DESC
                 LIMIT $5
             )
             UNION ALL
             (
                 SELECT *
                 FROM transactions
                 WHERE beneficiary_user_id = $1
                   AND initiator_user_id <> $1
                   AND tenant_id = $2
                   AND ($3::uuid IS NULL OR to_wallet_id = $3)
                   AND ($4::uuid IS NULL OR transaction_id < $4)
                 ORDER BY transaction_id DESC
                 LIMIT $5
             )
         ) AS seen
         ORDER BY transaction_id DESC
         LIMIT $5"#,
        user.uuid(),
        tenant.as_str(),
        wallet.map(WalletId::uuid),
        page.before.map(TransactionId::uuid),
        page.limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Stored::try_from)
    .collect()
}

/// Everybody's transactions.
#[tracing::instrument(name = "store.lists.of_all", skip_all)]
pub(crate) async fn of_all(
    conn: &mut PgConnection,
    tenant: &TenantId,
    page: Page,
) -> Result<Vec<Stored>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT transaction_id, tenant_id, kind, state, currency_code, amount_minor,
             from_wallet_id, to_wallet_id, provider, initiator_user_id, description, hold_id,
             provider_requests, provider_requested_at, provider_reference, decline_code,
             unknown_since, failure_reason, failure_message, review_cause, beneficiary_user_id,
             posted_at, created_at, updated_at, version
         FROM transactions
         WHERE tenant_id = $1
           AND ($2::uuid IS NULL OR transaction_id < $2)
         ORDER BY transaction_id DESC
         LIMIT $3",
        tenant.as_str(),
        page.before.map(TransactionId::uuid),
        page.limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Stored::try_from)
    .collect()
}
