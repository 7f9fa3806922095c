//! Pages of transactions, newest first.
//!
//! Ids are UUIDv7, so the order of ids is the order of creation and a page goes
//! on behind an id. What a user sees is three sets that do not meet: what the
//! user started, what others sent that reached the user, and what others gave
//! back or took out of a wallet of the user's.

use std::time::Duration;

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::transactions::Stored;
use super::transactions::row::select_rows;

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
    // Each part reads its own index and stops at the limit. A beneficiary is
    // set by `transaction.completed` only.
    select_rows!(
        "FROM (
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
             UNION ALL
             (
                 SELECT *
                 FROM transactions
                 WHERE payer_user_id = $1
                   AND initiator_user_id <> $1
                   AND beneficiary_user_id IS DISTINCT FROM $1
                   AND tenant_id = $2
                   AND ($3::uuid IS NULL OR from_wallet_id = $3)
                   AND ($4::uuid IS NULL OR transaction_id < $4)
                 ORDER BY transaction_id DESC
                 LIMIT $5
             )
         ) AS seen
         ORDER BY transaction_id DESC
         LIMIT $5",
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

/// A page of what waits for a person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReviewPage {
    /// Where the page before ended: since when its last one waits, and which it is.
    pub(crate) after: Option<(OffsetDateTime, TransactionId)>,
    /// From what age on an unknown outcome is listed.
    pub(crate) min_unknown: Duration,
    /// How many to return at most.
    pub(crate) limit: i64,
}

/// The transactions of a tenant in MANUAL_REVIEW, and those whose outcome has been
/// unknown for long, the longest waiting first. A row changes only with an event,
/// so one that is in review waits since its change.
#[tracing::instrument(name = "store.lists.in_review", skip_all)]
pub(crate) async fn in_review(
    conn: &mut PgConnection,
    tenant: &TenantId,
    page: ReviewPage,
) -> Result<Vec<Stored>, sqlx::Error> {
    let (after, after_id) = page.after.unzip();
    select_rows!(
        "FROM transactions
         WHERE tenant_id = $1
           AND state IN ('MANUAL_REVIEW', 'UNKNOWN')
           AND (state = 'MANUAL_REVIEW' OR unknown_since <= clock_timestamp() - $2::interval)
           AND ($3::timestamptz IS NULL
                OR (coalesce(unknown_since, updated_at), transaction_id) > ($3, $4))
         ORDER BY coalesce(unknown_since, updated_at), transaction_id
         LIMIT $5",
        tenant.as_str(),
        super::interval(page.min_unknown),
        after,
        after_id.map(TransactionId::uuid),
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
    select_rows!(
        "FROM transactions
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
