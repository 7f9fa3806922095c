//! Wallet rows.

use std::collections::HashMap;

use bursar_aip::id::{TenantId, UserId, WalletId};
use bursar_money::Currency;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, query, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::names::{Named, unreadable};
use crate::domain::wallet::{Balance, SystemAccount, Wallet, WalletStatus};

/// A wallet row as it is selected everywhere.
pub(super) struct WalletRow {
    pub(super) id: Uuid,
    pub(super) tenant_id: String,
    pub(super) owner_user_id: Option<Uuid>,
    pub(super) currency: String,
    pub(super) status: String,
    pub(super) available: i64,
    pub(super) held: i64,
    pub(super) bonus: i64,
    pub(super) min_available: i64,
    pub(super) version: i64,
    pub(super) event_version: i64,
    pub(super) created_at: OffsetDateTime,
    pub(super) posted_at: Option<OffsetDateTime>,
    pub(super) has_limits: bool,
}

impl TryFrom<WalletRow> for Wallet {
    type Error = sqlx::Error;

    fn try_from(row: WalletRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: WalletId::from_uuid(row.id),
            tenant: row
                .tenant_id
                .parse()
                .map_err(|_| unreadable(&row.tenant_id))?,
            owner: row.owner_user_id.map(UserId::from_uuid),
            currency: currency(&row.currency)?,
            status: WalletStatus::from_word(&row.status)?,
            balance: Balance {
                available: row.available,
                held: row.held,
                bonus: row.bonus,
            },
            min_available: row.min_available,
            version: row.version,
            event_version: row.event_version,
            created_at: row.created_at,
            posted_at: row.posted_at,
            has_limits: row.has_limits,
        })
    }
}

/// A currency that the database names.
pub(super) fn currency(code: &str) -> Result<Currency, sqlx::Error> {
    Currency::parse(code).map_err(|_| unreadable(code))
}

pub(super) fn all(rows: Vec<WalletRow>) -> Result<Vec<Wallet>, sqlx::Error> {
    rows.into_iter().map(Wallet::try_from).collect()
}

/// Inserts a user's new wallet unless there is one with its id. Says whether
/// it was inserted.
pub async fn insert(conn: &mut PgConnection, wallet: &Wallet) -> Result<bool, sqlx::Error> {
    let done = query!(
        "INSERT INTO wallets
             (id, tenant_id, owner_user_id, currency, status, available, held, bonus,
              min_available, version, event_version, created_at)
         VALUES ($1, $2, $3, $4, $5::text::wallet_status, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (id) DO NOTHING",
        wallet.id.uuid(),
        wallet.tenant.as_str(),
        wallet.owner.map(UserId::uuid),
        wallet.currency.code(),
        wallet.status.word(),
        wallet.balance.available,
        wallet.balance.held,
        wallet.balance.bonus,
        wallet.min_available,
        wallet.version,
        wallet.event_version,
        wallet.created_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A wallet of the platform that is to be open.
#[derive(Clone, Copy)]
pub struct SystemWallet<'a> {
    /// Its id, derived from the account.
    pub id: WalletId,
    /// The tenant it belongs to.
    pub tenant: &'a TenantId,
    /// What it is for.
    pub account: &'a SystemAccount,
}

/// Opens wallets of the platform that are not open yet. `wallets` must be in
/// the order of their ids, so that two writers that open the same ones wait for
/// each other and do not deadlock. Each may go as low as a `bigint` can: what
/// keeps it in bounds is the other side of each posting. It has no events.
pub async fn open_system(
    conn: &mut PgConnection,
    wallets: &[SystemWallet<'_>],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = wallets.iter().map(|wallet| wallet.id.uuid()).collect();
    let tenants: Vec<&str> = wallets
        .iter()
        .map(|wallet| wallet.tenant.as_str())
        .collect();
    let purposes: Vec<&str> = wallets
        .iter()
        .map(|wallet| wallet.account.purpose.name())
        .collect();
    let names: Vec<&str> = wallets
        .iter()
        .map(|wallet| wallet.account.name.as_str())
        .collect();
    let currencies: Vec<&str> = wallets
        .iter()
        .map(|wallet| wallet.account.currency.code())
        .collect();
    query!(
        "INSERT INTO wallets
             (id, tenant_id, system_purpose, system_name, currency, status, available, held,
              bonus, min_available, version, event_version, created_at)
         SELECT id, tenant, purpose, name, currency, 'active', 0, 0,
                0, -9223372036854775808, 0, 0, $6
         FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
             AS opened (id, tenant, purpose, name, currency)
         ON CONFLICT DO NOTHING",
        &ids,
        &tenants as &[&str],
        &purposes as &[&str],
        &names as &[&str],
        &currencies as &[&str],
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A user of a tenant.
pub type Owner = (TenantId, UserId);

/// Makes everyone who opens wallets for these users wait until the transaction
/// ends, so that counting them and adding some is one step. The locks are taken
/// in one order by all, so that nobody waits in a circle.
pub async fn lock_owners(conn: &mut PgConnection, owners: &[Owner]) -> Result<(), sqlx::Error> {
    let names: Vec<String> = owners
        .iter()
        .map(|(tenant, owner)| format!("wallets of {tenant}/{owner}"))
        .collect();
    query!(
        "SELECT pg_advisory_xact_lock(lock)
         FROM (
             SELECT DISTINCT hashtextextended(name, 0) AS lock
             FROM UNNEST($1::text[]) AS name
             ORDER BY lock
         ) AS locks",
        &names,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many wallets each of these users has, counted up to `limit`.
pub async fn counts(
    conn: &mut PgConnection,
    owners: &[Owner],
    limit: i64,
) -> Result<HashMap<Owner, i64>, sqlx::Error> {
    let tenants: Vec<&str> = owners.iter().map(|(tenant, _)| tenant.as_str()).collect();
    let users: Vec<Uuid> = owners.iter().map(|(_, owner)| owner.uuid()).collect();
    let counts = query_scalar!(
        r#"SELECT (
               SELECT count(*) FROM (
                   SELECT FROM wallets
                   WHERE wallets.tenant_id = owner.tenant_id
                       AND wallets.owner_user_id = owner.user_id
                   LIMIT $3
               ) AS counted
           ) AS "count!"
         FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS owner (tenant_id, user_id, place)
         ORDER BY owner.place"#,
        &tenants as &[&str],
        &users,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(owners.iter().cloned().zip(counts).collect())
}

/// Inserts users' new wallets. Fails with a unique violation of `wallets_pkey`
/// when a generated id exists already, which is a fault of ours.
pub async fn insert_many(conn: &mut PgConnection, wallets: &[&Wallet]) -> Result<(), sqlx::Error> {
    let tenants: Vec<&str> = wallets.iter().map(|w| w.tenant.as_str()).collect();
    let currencies: Vec<&str> = wallets.iter().map(|w| w.currency.code()).collect();
    let statuses: Vec<&str> = wallets.iter().map(|w| w.status.word()).collect();
    query!(
        "INSERT INTO wallets
             (id, tenant_id, owner_user_id, currency, status, available, held, bonus,
              min_available, version, event_version, created_at)
         SELECT id, tenant_id, owner_user_id, currency, status::wallet_status, available, held,
             bonus, min_available, version, event_version, created_at
         FROM UNNEST($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::bigint[],
                 $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
                 $12::timestamptz[])
             AS opened (id, tenant_id, owner_user_id, currency, status, available, held, bonus,
                 min_available, version, event_version, created_at)",
        &wallets.iter().map(|w| w.id.uuid()).collect::<Vec<_>>(),
        &tenants as &[&str],
        &wallets
            .iter()
            .map(|w| w.owner.map(UserId::uuid))
            .collect::<Vec<_>>() as &[Option<Uuid>],
        &currencies as &[&str],
        &statuses as &[&str],
        &wallets
            .iter()
            .map(|w| w.balance.available)
            .collect::<Vec<_>>(),
        &wallets.iter().map(|w| w.balance.held).collect::<Vec<_>>(),
        &wallets.iter().map(|w| w.balance.bonus).collect::<Vec<_>>(),
        &wallets.iter().map(|w| w.min_available).collect::<Vec<_>>(),
        &wallets.iter().map(|w| w.version).collect::<Vec<_>>(),
        &wallets.iter().map(|w| w.event_version).collect::<Vec<_>>(),
        &wallets.iter().map(|w| w.created_at).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A wallet of the tenant. With `owner`, only if it belongs to that user.
pub async fn find(
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
         WHERE id = $1 AND tenant_id = $2 AND ($3::uuid IS NULL OR owner_user_id = $3)"#,
        id.uuid(),
        tenant.as_str(),
        owner.map(UserId::uuid),
    )
    .fetch_optional(conn)
    .await?
    .map(Wallet::try_from)
    .transpose()
}

/// Wallets of the tenant by id, in no order; ids of no wallet are left out.
pub async fn find_many(
    conn: &mut PgConnection,
    tenant: &TenantId,
    ids: &[WalletId],
) -> Result<Vec<Wallet>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = query_as!(
        WalletRow,
        r#"SELECT id, tenant_id, owner_user_id, currency, status::text AS "status!",
                available, held, bonus, min_available, version, event_version, created_at,
                posted_at, has_limits
         FROM wallets
         WHERE id = ANY($1) AND tenant_id = $2"#,
        &ids,
        tenant.as_str(),
    )
    .fetch_all(conn)
    .await?;
    all(rows)
}

/// The place of a wallet in its owner's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// When it was opened, in microseconds of the Unix epoch.
    opened_us: i64,
    id: WalletId,
}

impl Place {
    /// The place of `wallet`.
    pub fn of(wallet: &Wallet) -> Self {
        let micros = wallet.created_at.unix_timestamp_nanos() / 1_000;
        Self {
            opened_us: i64::try_from(micros).unwrap_or(i64::MAX),
            id: wallet.id,
        }
    }
}

/// A user's wallets after a place, oldest first.
pub async fn list(
    conn: &mut PgConnection,
    tenant: &TenantId,
    owner: UserId,
    after: Option<Place>,
    limit: i64,
) -> Result<Vec<Wallet>, sqlx::Error> {
    let rows = query_as!(
        WalletRow,
        r#"SELECT id, tenant_id, owner_user_id, currency, status::text AS "status!",
                available, held, bonus, min_available, version, event_version, created_at,
                posted_at, has_limits
         FROM wallets
         WHERE tenant_id = $1 AND owner_user_id = $2
           AND ($3::bigint IS NULL
                OR (created_at, id) > ('epoch'::timestamptz + $3 * interval '1 microsecond', $4))
         ORDER BY created_at, id
         LIMIT $5"#,
        tenant.as_str(),
        owner.uuid(),
        after.map(|place| place.opened_us),
        after.map(|place| place.id.uuid()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    all(rows)
}
