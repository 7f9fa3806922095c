//! Rebuilds of projections, and who works on them.
//!
//! A rebuild is worked on under a lease with an epoch: every write of its worker
//! names the epoch, so one that was overtaken changes nothing more. What it
//! mended is right all the same.

use bursar_aip::id::{TenantId, WalletId};
use sqlx::{PgConnection, query, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::names::{Named, unreadable};
use crate::domain::drift::RebuildId;

/// How far a rebuild has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RebuildStatus {
    /// It waits for its turn.
    Pending,
    /// It is under way.
    Running,
    /// It is done.
    Completed,
}

impl Named for RebuildStatus {
    const ALL: &'static [Self] = &[Self::Pending, Self::Running, Self::Completed];

    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
        }
    }
}

/// What a rebuild counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Wallets that were compared.
    pub checked: i64,
    /// Wallets that differed.
    pub differing: i64,
    /// Wallets that were mended.
    pub rebuilt: i64,
    /// Rows of projections that differed.
    pub differences: i64,
    /// Wallets whose own balance differed from their entries.
    pub balance_differences: i64,
}

/// A rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// The id.
    pub id: RebuildId,
    /// The tenant whose wallets it is about.
    pub tenant: TenantId,
    /// The one wallet it is about; `None` for all.
    pub wallet: Option<WalletId>,
    /// Whether it only counts.
    pub dry_run: bool,
    /// How far it has come.
    pub status: RebuildStatus,
    /// Who asked for it.
    pub requested_by: String,
    /// The last wallet that is done.
    pub cursor: Option<WalletId>,
    /// How many wallets it is about; 0 before it has begun.
    pub total: i64,
    /// What it counted.
    pub counts: Counts,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it began.
    pub started_at: Option<OffsetDateTime>,
    /// When it was done.
    pub finished_at: Option<OffsetDateTime>,
}

struct RebuildRow {
    id: Uuid,
    tenant_id: String,
    wallet_id: Option<Uuid>,
    dry_run: bool,
    status: String,
    requested_by: String,
    cursor_wallet_id: Option<Uuid>,
    wallets_total: i64,
    wallets_checked: i64,
    wallets_differing: i64,
    wallets_rebuilt: i64,
    differences: i64,
    balance_differences: i64,
    created_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
}

impl TryFrom<RebuildRow> for Rebuild {
    type Error = sqlx::Error;

    fn try_from(row: RebuildRow) -> Result<Self, sqlx::Error> {
        let tenant = row.tenant_id;
        Ok(Self {
            id: RebuildId::from_uuid(row.id),
            tenant: tenant.parse().map_err(|_| unreadable(tenant))?,
            wallet: row.wallet_id.map(WalletId::from_uuid),
            dry_run: row.dry_run,
            status: RebuildStatus::from_word(&row.status)?,
            requested_by: row.requested_by,
            cursor: row.cursor_wallet_id.map(WalletId::from_uuid),
            total: row.wallets_total,
            counts: Counts {
                checked: row.wallets_checked,
                differing: row.wallets_differing,
                rebuilt: row.wallets_rebuilt,
                differences: row.differences,
                balance_differences: row.balance_differences,
            },
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

/// Inserts a rebuild unless another one of all the tenant's wallets is not done.
/// Says whether it was inserted.
pub async fn insert(conn: &mut PgConnection, rebuild: &Rebuild) -> Result<bool, sqlx::Error> {
    let done = query!(
        "INSERT INTO projection_rebuilds (id, tenant_id, wallet_id, dry_run, status, requested_by,
             wallets_total, wallets_checked, wallets_differing, wallets_rebuilt, differences,
             balance_differences, created_at, started_at, finished_at)
         VALUES ($1, $2, $3, $4, $5::text::rebuild_status, $6, $7, $8, $9, $10, $11, $12, $13, $14,
             $15)
         ON CONFLICT (tenant_id) WHERE wallet_id IS NULL AND status <> 'completed' DO NOTHING",
        rebuild.id.uuid(),
        rebuild.tenant.as_str(),
        rebuild.wallet.map(WalletId::uuid),
        rebuild.dry_run,
        rebuild.status.word(),
        rebuild.requested_by,
        rebuild.total,
        rebuild.counts.checked,
        rebuild.counts.differing,
        rebuild.counts.rebuilt,
        rebuild.counts.differences,
        rebuild.counts.balance_differences,
        rebuild.created_at,
        rebuild.started_at,
        rebuild.finished_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The rebuild of all the tenant's wallets that is not done.
pub async fn of_all(
    conn: &mut PgConnection,
    tenant: &TenantId,
) -> Result<Option<RebuildId>, sqlx::Error> {
    let found = query_scalar!(
        "SELECT id FROM projection_rebuilds
         WHERE tenant_id = $1 AND wallet_id IS NULL AND status <> 'completed'",
        tenant.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.map(RebuildId::from_uuid))
}

/// A rebuild of the tenant.
pub async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: RebuildId,
) -> Result<Option<Rebuild>, sqlx::Error> {
    query_as!(
        RebuildRow,
        r#"SELECT id, tenant_id, wallet_id, dry_run, status::text AS "status!", requested_by,
             cursor_wallet_id, wallets_total, wallets_checked, wallets_differing,
             wallets_rebuilt, differences, balance_differences, created_at, started_at,
             finished_at
         FROM projection_rebuilds WHERE id = $1 AND tenant_id = $2"#,
        id.uuid(),
        tenant.as_str(),
    )
    .fetch_optional(conn)
    .await?
    .map(Rebuild::try_from)
    .transpose()
}

/// The tenant's rebuilds before one, newest first.
pub async fn list(
    conn: &mut PgConnection,
    tenant: &TenantId,
    before: Option<RebuildId>,
    limit: i64,
) -> Result<Vec<Rebuild>, sqlx::Error> {
    let rows = query_as!(
        RebuildRow,
        r#"SELECT id, tenant_id, wallet_id, dry_run, status::text AS "status!", requested_by,
             cursor_wallet_id, wallets_total, wallets_checked, wallets_differing,
             wallets_rebuilt, differences, balance_differences, created_at, started_at,
             finished_at
         FROM projection_rebuilds
         WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
         ORDER BY id DESC
         LIMIT $3"#,
        tenant.as_str(),
        before.map(RebuildId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Rebuild::try_from).collect()
}

/// Takes the oldest rebuild that is not done and that nobody works on, for so
/// many seconds. Returns it with the epoch of the lease.
pub async fn claim(
    conn: &mut PgConnection,
    lease_seconds: f64,
) -> Result<Option<(Rebuild, i64)>, sqlx::Error> {
    let claimed = query!(
        "UPDATE projection_rebuilds SET lease_epoch = lease_epoch + 1,
             leased_until = now() + make_interval(secs => $1),
             status = 'running', started_at = coalesce(started_at, now())
         WHERE id = (
             SELECT id FROM projection_rebuilds
             WHERE status <> 'completed' AND (leased_until IS NULL OR leased_until < now())
             ORDER BY created_at
             LIMIT 1
             FOR UPDATE SKIP LOCKED
         )
         RETURNING id, tenant_id, lease_epoch",
        lease_seconds,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(claimed) = claimed else {
        return Ok(None);
    };
    let tenant = claimed.tenant_id;
    let tenant = tenant.parse().map_err(|_| unreadable(tenant))?;
    let rebuild = find(conn, &tenant, RebuildId::from_uuid(claimed.id)).await?;
    Ok(rebuild.map(|rebuild| (rebuild, claimed.lease_epoch)))
}

/// Writes how far a rebuild has come and keeps its lease for so many seconds; 0
/// gives it up. False when the lease is another's.
pub async fn progress(
    conn: &mut PgConnection,
    rebuild: &Rebuild,
    epoch: i64,
    lease_seconds: f64,
) -> Result<bool, sqlx::Error> {
    let done = query!(
        "UPDATE projection_rebuilds SET status = $3::text::rebuild_status, cursor_wallet_id = $4,
             wallets_total = $5, wallets_checked = $6, wallets_differing = $7,
             wallets_rebuilt = $8, differences = $9, balance_differences = $10,
             finished_at = $11, leased_until = now() + make_interval(secs => $12)
         WHERE id = $1 AND lease_epoch = $2 AND status <> 'completed'",
        rebuild.id.uuid(),
        epoch,
        rebuild.status.word(),
        rebuild.cursor.map(WalletId::uuid),
        rebuild.total,
        rebuild.counts.checked,
        rebuild.counts.differing,
        rebuild.counts.rebuilt,
        rebuild.counts.differences,
        rebuild.counts.balance_differences,
        rebuild.finished_at,
        lease_seconds,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many wallets the tenant had at an instant.
pub async fn count_wallets(
    conn: &mut PgConnection,
    tenant: &TenantId,
    at: OffsetDateTime,
) -> Result<i64, sqlx::Error> {
    query_scalar!(
        r#"SELECT count(*) AS "count!" FROM wallets WHERE tenant_id = $1 AND created_at <= $2"#,
        tenant.as_str(),
        at,
    )
    .fetch_one(conn)
    .await
}

/// The tenant's wallets after one, in the order of their ids, that were there at
/// an instant.
pub async fn next_wallets(
    conn: &mut PgConnection,
    tenant: &TenantId,
    at: OffsetDateTime,
    after: Option<WalletId>,
    limit: i64,
) -> Result<Vec<WalletId>, sqlx::Error> {
    let found = query_scalar!(
        "SELECT id FROM wallets
         WHERE tenant_id = $1 AND created_at <= $2 AND ($3::uuid IS NULL OR id > $3)
         ORDER BY id
         LIMIT $4",
        tenant.as_str(),
        at,
        after.map(WalletId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(WalletId::from_uuid).collect())
}
