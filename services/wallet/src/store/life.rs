//! Changing a wallet outside the ledger: its status and its limits.
//!
//! Each change locks one wallet's row and nothing else, and takes no other lock
//! while it holds it, so it waits for the writers and they for it, but never in
//! a circle. The lock also guards the wallet's allowance, as it does for them.

use bursar_aip::id::{TenantId, UserId, WalletId};
use sqlx::{PgConnection, query, query_as};

use super::names::Named;
use super::wallets::WalletRow;
use crate::domain::limit::Allowance;
use crate::domain::wallet::Wallet;

/// Locks a wallet of the tenant. With `owner`, only if it belongs to that user.
pub async fn lock(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: WalletId,
    owner: Option<UserId>,
) -> Result<Option<Wallet>, sqlx::Error> {
    query_as!(
        WalletRow,
        r#"SELECT id, tenant_id, owner_user_id, currency, status::text AS "status!",
                available, held, bonus, min_available, version, event_version, created_at,
                posted_at, has_limits
         FROM wallets
         WHERE id = $1 AND tenant_id = $2 AND ($3::uuid IS NULL OR owner_user_id = $3)
         FOR UPDATE"#,
        id.uuid(),
        tenant.as_str(),
        owner.map(UserId::uuid),
    )
    .fetch_optional(conn)
    .await?
    .map(Wallet::try_from)
    .transpose()
}

/// Writes a wallet after a change that counts one event. Fails with
/// `RowNotFound` when it was not locked before.
pub async fn update(conn: &mut PgConnection, wallet: &Wallet) -> Result<(), sqlx::Error> {
    let done = query!(
        "UPDATE wallets
         SET status = $2::text::wallet_status, min_available = $3, has_limits = $4,
             event_version = $5
         WHERE id = $1 AND event_version = $5::bigint - 1",
        wallet.id.uuid(),
        wallet.status.word(),
        wallet.min_available,
        wallet.has_limits,
        wallet.event_version,
    )
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// Writes what a wallet, which is locked, may spend and has spent.
pub async fn put_allowance(
    conn: &mut PgConnection,
    tenant: &TenantId,
    counted: &Allowance,
) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO wallet_limits
             (wallet_id, tenant_id, single_minor, daily_minor, monthly_minor, day, day_spent,
              month, month_spent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (wallet_id) DO UPDATE
         SET single_minor = excluded.single_minor, daily_minor = excluded.daily_minor,
             monthly_minor = excluded.monthly_minor, day = excluded.day,
             day_spent = excluded.day_spent, month = excluded.month,
             month_spent = excluded.month_spent",
        counted.wallet.uuid(),
        tenant.as_str(),
        counted.limits.single,
        counted.limits.daily,
        counted.limits.monthly,
        counted.day,
        counted.day_spent,
        counted.month,
        counted.month_spent,
    )
    .execute(conn)
    .await?;
    Ok(())
}
