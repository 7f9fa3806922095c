//! Bonus campaigns, their budgets and their sums.
//!
//! Nothing here locks a campaign: what must not go wrong about one is decided
//! under its budget wallet's lock, in the ledger.

use bursar_aip::id::{CampaignId, TenantId, WalletId};
use bursar_money::Currency;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, query, query_as};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::names::unreadable;
use crate::domain::campaign::{Campaign, ConversionRule};

/// A campaign row as it is selected everywhere.
struct CampaignRow {
    id: Uuid,
    tenant_id: String,
    name: String,
    currency: String,
    user_cap: Option<i64>,
    starts_at: OffsetDateTime,
    ends_at: Option<OffsetDateTime>,
    grant_ttl_seconds: Option<i32>,
    convert_after_seconds: Option<i32>,
    convert_min_spend: Option<i64>,
    convert_automatically: Option<bool>,
    created_at: OffsetDateTime,
    ended_at: Option<OffsetDateTime>,
}

impl TryFrom<CampaignRow> for Campaign {
    type Error = sqlx::Error;

    fn try_from(row: CampaignRow) -> Result<Self, sqlx::Error> {
        let conversion = match (
            row.convert_after_seconds,
            row.convert_min_spend,
            row.convert_automatically,
        ) {
            (Some(after), Some(min_spend), Some(is_automatic)) => Some(ConversionRule {
                min_age: Duration::seconds(i64::from(after)),
                min_spend,
                is_automatic,
            }),
            _ => None,
        };
        Ok(Self {
            id: CampaignId::from_uuid(row.id),
            tenant: row
                .tenant_id
                .parse()
                .map_err(|_| unreadable(&row.tenant_id))?,
            name: row.name,
            currency: Currency::parse(&row.currency).map_err(|_| unreadable(&row.currency))?,
            user_cap: row.user_cap,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            grant_ttl: row
                .grant_ttl_seconds
                .map(|ttl| Duration::seconds(i64::from(ttl))),
            conversion,
            created_at: row.created_at,
            ended_at: row.ended_at,
        })
    }
}

/// Inserts a campaign and opens its budget wallet, which nobody may overdraw,
/// unless they are there. The ledger opens wallets of the platform without a
/// floor, but only those that are missing: so this one is inserted, and has to
/// be committed, before the first posting names it.
pub async fn insert(conn: &mut PgConnection, campaign: &Campaign) -> Result<(), sqlx::Error> {
    let budget = campaign.budget();
    query!(
        "INSERT INTO wallets
             (id, tenant_id, system_purpose, system_name, currency, status, available, held,
              bonus, min_available, version, event_version, created_at)
         VALUES ($1, $2, $3, $4, $5, 'active', 0, 0, 0, 0, 0, 0, $6)
         ON CONFLICT DO NOTHING",
        campaign.budget_wallet().uuid(),
        campaign.tenant.as_str(),
        budget.purpose.name(),
        budget.name,
        budget.currency.code(),
        campaign.created_at,
    )
    .execute(&mut *conn)
    .await?;
    let rule = campaign.conversion;
    query!(
        "INSERT INTO bonus_campaigns
             (id, tenant_id, name, currency, budget_wallet_id, user_cap, starts_at, ends_at,
              grant_ttl_seconds, convert_after_seconds, convert_min_spend,
              convert_automatically, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (id) DO NOTHING",
        campaign.id.uuid(),
        campaign.tenant.as_str(),
        campaign.name,
        campaign.currency.code(),
        campaign.budget_wallet().uuid(),
        campaign.user_cap,
        campaign.starts_at,
        campaign.ends_at,
        campaign.grant_ttl.map(seconds),
        rule.map(|rule| seconds(rule.min_age)),
        rule.map(|rule| rule.min_spend),
        rule.map(|rule| rule.is_automatic),
        campaign.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The contract's bound is ten years, which is far from the highest `i32`.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.whole_seconds()).unwrap_or(i32::MAX)
}

/// A campaign of the tenant.
pub async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: CampaignId,
) -> Result<Option<Campaign>, sqlx::Error> {
    query_as!(
        CampaignRow,
        r#"SELECT id, tenant_id, name, currency, user_cap, starts_at, ends_at,
                grant_ttl_seconds, convert_after_seconds, convert_min_spend,
                convert_automatically, created_at, ended_at
         FROM bonus_campaigns
         WHERE id = $1 AND tenant_id = $2"#,
        id.uuid(),
        tenant.as_str(),
    )
    .fetch_optional(conn)
    .await?
    .map(Campaign::try_from)
    .transpose()
}

/// Campaigns by id, of whatever tenant, in no order.
pub async fn find_many(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Campaign>, sqlx::Error> {
    let rows = query_as!(
        CampaignRow,
        r#"SELECT id, tenant_id, name, currency, user_cap, starts_at, ends_at,
                grant_ttl_seconds, convert_after_seconds, convert_min_spend,
                convert_automatically, created_at, ended_at
         FROM bonus_campaigns
         WHERE id = ANY($1)"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Campaign::try_from).collect()
}

/// The place of a campaign in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// When it was created, in microseconds of the Unix epoch.
    created_us: i64,
    id: CampaignId,
}

impl Place {
    /// The place of `campaign`.
    pub fn of(campaign: &Campaign) -> Self {
        let micros = campaign.created_at.unix_timestamp_nanos() / 1_000;
        Self {
            created_us: i64::try_from(micros).unwrap_or(i64::MAX),
            id: campaign.id,
        }
    }
}

/// The tenant's campaigns after a place, newest first.
pub async fn list(
    conn: &mut PgConnection,
    tenant: &TenantId,
    after: Option<Place>,
    limit: i64,
) -> Result<Vec<Campaign>, sqlx::Error> {
    let rows = query_as!(
        CampaignRow,
        r#"SELECT id, tenant_id, name, currency, user_cap, starts_at, ends_at,
                grant_ttl_seconds, convert_after_seconds, convert_min_spend,
                convert_automatically, created_at, ended_at
         FROM bonus_campaigns
         WHERE tenant_id = $1
           AND ($2::bigint IS NULL
                OR (created_at, id) < ('epoch'::timestamptz + $2 * interval '1 microsecond', $3))
         ORDER BY created_at DESC, id DESC
         LIMIT $4"#,
        tenant.as_str(),
        after.map(|place| place.created_us),
        after.map(|place| place.id.uuid()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Campaign::try_from).collect()
}

/// Ends a campaign unless it has ended.
pub async fn end(
    conn: &mut PgConnection,
    id: CampaignId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    query!(
        "UPDATE bonus_campaigns SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL",
        id.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is left of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In minor units.
    pub left: i64,
    /// The wallet's version when it had so much.
    pub version: i64,
}

/// The budget in a wallet.
pub async fn budget(conn: &mut PgConnection, wallet: WalletId) -> Result<Budget, sqlx::Error> {
    query_as!(
        Budget,
        r#"SELECT available AS "left", version FROM wallets WHERE id = $1"#,
        wallet.uuid(),
    )
    .fetch_one(conn)
    .await
}

/// The next campaign after one, of any tenant, that converts its grants by itself.
pub async fn next_automatic(
    conn: &mut PgConnection,
    after: Uuid,
) -> Result<Option<Campaign>, sqlx::Error> {
    query_as!(
        CampaignRow,
        r#"SELECT id, tenant_id, name, currency, user_cap, starts_at, ends_at,
                grant_ttl_seconds, convert_after_seconds, convert_min_spend,
                convert_automatically, created_at, ended_at
         FROM bonus_campaigns
         WHERE convert_automatically AND id > $1
         ORDER BY id
         LIMIT 1"#,
        after,
    )
    .fetch_optional(conn)
    .await?
    .map(Campaign::try_from)
    .transpose()
}

/// Campaigns that were ended, with their budgets, in the order of their ids,
/// after one. Most of them have nothing left.
pub async fn ended(
    conn: &mut PgConnection,
    after: Uuid,
    limit: i64,
) -> Result<Vec<(Campaign, Budget)>, sqlx::Error> {
    let rows = query!(
        "SELECT bonus_campaigns.id, bonus_campaigns.tenant_id, name, bonus_campaigns.currency,
             user_cap, starts_at, ends_at, grant_ttl_seconds, convert_after_seconds,
             convert_min_spend, convert_automatically, bonus_campaigns.created_at, ended_at,
             wallets.available, wallets.version
         FROM bonus_campaigns JOIN wallets ON wallets.id = bonus_campaigns.budget_wallet_id
         WHERE bonus_campaigns.ended_at IS NOT NULL AND bonus_campaigns.id > $1
         ORDER BY bonus_campaigns.id
         LIMIT $2",
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let budget = Budget {
                left: row.available,
                version: row.version,
            };
            let campaign = CampaignRow {
                id: row.id,
                tenant_id: row.tenant_id,
                name: row.name,
                currency: row.currency,
                user_cap: row.user_cap,
                starts_at: row.starts_at,
                ends_at: row.ends_at,
                grant_ttl_seconds: row.grant_ttl_seconds,
                convert_after_seconds: row.convert_after_seconds,
                convert_min_spend: row.convert_min_spend,
                convert_automatically: row.convert_automatically,
                created_at: row.created_at,
                ended_at: row.ended_at,
            };
            Ok((Campaign::try_from(campaign)?, budget))
        })
        .collect()
}

/// Where a campaign's money is, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// What is left of the budget.
    pub left: i64,
    /// How many there were.
    pub grants: i64,
    /// What was granted.
    pub granted: i64,
    /// What users still have of it.
    pub outstanding: i64,
    /// What became available money.
    pub converted: i64,
    /// What went back to the budget.
    pub expired: i64,
}

/// Sums up a campaign's grants. It reads all of them. The budget is read in the
/// same statement: the two would not add up while grants are made.
pub async fn totals(conn: &mut PgConnection, campaign: &Campaign) -> Result<Totals, sqlx::Error> {
    // A sum of 64-bit numbers is a numeric; a budget holds no more than fits.
    query_as!(
        Totals,
        r#"SELECT (SELECT available FROM wallets WHERE id = $2) AS "left!",
                count(*) AS "grants!",
                coalesce(sum(amount), 0)::bigint AS "granted!",
                coalesce(sum(remaining), 0)::bigint AS "outstanding!",
                coalesce(sum(returned) FILTER (WHERE status = 'converted'), 0)::bigint
                    AS "converted!",
                coalesce(sum(returned) FILTER (WHERE status = 'expired'), 0)::bigint
                    AS "expired!"
         FROM bonus_grants
         WHERE campaign_id = $1"#,
        campaign.id.uuid(),
        campaign.budget_wallet().uuid(),
    )
    .fetch_one(conn)
    .await
}
