//! The grants of bonus money that a batch makes, spends and ends, and what it
//! uses up of spending limits.

use bursar_aip::id::WalletId;
use sqlx::{PgConnection, query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::GrantAfter;
use super::holds::{ended_at, ended_by};
use crate::domain::limit::Allowance;
use crate::store::names::Named;

/// Writes grants: new ones are inserted; each that was there is changed by a
/// compare-and-set on what was left of it under its lock. Fails with
/// `RowNotFound` when one is not as it was.
pub(super) async fn write(
    conn: &mut PgConnection,
    grants: &[&GrantAfter<'_>],
) -> Result<(), sqlx::Error> {
    let (changed, made): (Vec<&GrantAfter<'_>>, Vec<&GrantAfter<'_>>) =
        grants.iter().partition(|after| after.before.is_some());
    if !made.is_empty() {
        insert(conn, &made).await?;
    }
    if !changed.is_empty() {
        update(conn, &changed).await?;
    }
    Ok(())
}

async fn insert(conn: &mut PgConnection, made: &[&GrantAfter<'_>]) -> Result<(), sqlx::Error> {
    let each = || made.iter().map(|after| after.grant);
    let tenants: Vec<&str> = made.iter().map(|after| after.tenant).collect();
    let statuses: Vec<&str> = each().map(|grant| grant.status.word()).collect();
    query!(
        "INSERT INTO bonus_grants (id, tenant_id, campaign_id, budget_wallet_id, wallet_id,
             owner_user_id, amount, remaining, returned, status, granted_by, granted_at,
             expires_at, ended_by, ended_at)
         SELECT id, tenant_id, campaign_id, budget_wallet_id, wallet_id,
             owner_user_id, amount, remaining, returned, status::grant_status, granted_by,
             granted_at, expires_at, ended_by, ended_at
         FROM UNNEST($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[],
                 $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::uuid[],
                 $12::timestamptz[], $13::timestamptz[], $14::uuid[], $15::timestamptz[])
             AS made (id, tenant_id, campaign_id, budget_wallet_id, wallet_id, owner_user_id,
                 amount, remaining, returned, status, granted_by, granted_at, expires_at,
                 ended_by, ended_at)",
        &each().map(|grant| grant.id.uuid()).collect::<Vec<_>>(),
        &tenants as &[&str],
        &each()
            .map(|grant| grant.campaign.uuid())
            .collect::<Vec<_>>(),
        &each().map(|grant| grant.budget.uuid()).collect::<Vec<_>>(),
        &each().map(|grant| grant.wallet.uuid()).collect::<Vec<_>>(),
        &each().map(|grant| grant.owner.uuid()).collect::<Vec<_>>(),
        &each().map(|grant| grant.amount).collect::<Vec<_>>(),
        &each().map(|grant| grant.remaining).collect::<Vec<_>>(),
        &each().map(|grant| grant.returned).collect::<Vec<_>>(),
        &statuses as &[&str],
        &each()
            .map(|grant| grant.granted_by.uuid())
            .collect::<Vec<_>>(),
        &each().map(|grant| grant.granted_at).collect::<Vec<_>>(),
        &each().map(|grant| grant.expires_at).collect::<Vec<_>>() as &[Option<OffsetDateTime>],
        &each()
            .map(|grant| ended_by(grant.ended))
            .collect::<Vec<_>>() as &[Option<Uuid>],
        &each()
            .map(|grant| ended_at(grant.ended))
            .collect::<Vec<_>>() as &[Option<OffsetDateTime>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn update(conn: &mut PgConnection, changed: &[&GrantAfter<'_>]) -> Result<(), sqlx::Error> {
    let each = || changed.iter().map(|after| after.grant);
    let remaining_before: Vec<i64> = changed
        .iter()
        .filter_map(|after| after.before.map(|before| before.remaining))
        .collect();
    let statuses: Vec<&str> = each().map(|grant| grant.status.word()).collect();
    let done = query!(
        "UPDATE bonus_grants SET remaining = after.remaining, returned = after.returned,
             status = after.status::grant_status, ended_by = after.ended_by,
             ended_at = after.ended_at
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[],
                 $6::uuid[], $7::timestamptz[])
             AS after (id, remaining_before, remaining, returned, status, ended_by, ended_at)
         WHERE bonus_grants.id = after.id AND bonus_grants.status = 'active'
             AND bonus_grants.remaining = after.remaining_before",
        &each().map(|grant| grant.id.uuid()).collect::<Vec<_>>(),
        &remaining_before,
        &each().map(|grant| grant.remaining).collect::<Vec<_>>(),
        &each().map(|grant| grant.returned).collect::<Vec<_>>(),
        &statuses as &[&str],
        &each()
            .map(|grant| ended_by(grant.ended))
            .collect::<Vec<_>>() as &[Option<Uuid>],
        &each()
            .map(|grant| ended_at(grant.ended))
            .collect::<Vec<_>>() as &[Option<OffsetDateTime>],
    )
    .execute(conn)
    .await?;
    super::expect_rows(done.rows_affected(), changed.len())
}

/// Writes what is used up of the limits of wallets that have some; the wallets
/// are locked.
pub(super) async fn write_allowances<'a>(
    conn: &mut PgConnection,
    allowances: impl Iterator<Item = (&'a WalletId, &'a &'a Allowance)>,
) -> Result<(), sqlx::Error> {
    let (ids, rows): (Vec<Uuid>, Vec<&Allowance>) = allowances
        .map(|(wallet, allowance)| (wallet.uuid(), *allowance))
        .unzip();
    let done = query!(
        "UPDATE wallet_limits SET day = after.day, day_spent = after.day_spent,
             month = after.month, month_spent = after.month_spent
         FROM UNNEST($1::uuid[], $2::date[], $3::bigint[], $4::date[], $5::bigint[])
             AS after (wallet_id, day, day_spent, month, month_spent)
         WHERE wallet_limits.wallet_id = after.wallet_id",
        &ids,
        &rows.iter().map(|row| row.day).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.day_spent).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.month).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.month_spent).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    super::expect_rows(done.rows_affected(), ids.len())
}
