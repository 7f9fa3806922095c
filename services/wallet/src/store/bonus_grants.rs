//! Reading grants of bonus money. They are written with the postings that make
//! and end them, in `write`.

use bursar_aip::id::{CampaignId, GrantId, TenantId, UserId, WalletId};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::names::Named;
use crate::domain::bonus::{BonusGrant, GrantStatus};
use crate::domain::posting::PostingId;

/// A grant row as it is selected everywhere.
struct GrantRow {
    id: Uuid,
    campaign_id: Uuid,
    budget_wallet_id: Uuid,
    wallet_id: Uuid,
    owner_user_id: Uuid,
    amount: i64,
    remaining: i64,
    returned: i64,
    status: String,
    granted_by: Uuid,
    granted_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    ended_by: Option<Uuid>,
    ended_at: Option<OffsetDateTime>,
}

impl TryFrom<GrantRow> for BonusGrant {
    type Error = sqlx::Error;

    fn try_from(row: GrantRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: GrantId::from_uuid(row.id),
            campaign: CampaignId::from_uuid(row.campaign_id),
            budget: WalletId::from_uuid(row.budget_wallet_id),
            wallet: WalletId::from_uuid(row.wallet_id),
            owner: UserId::from_uuid(row.owner_user_id),
            amount: row.amount,
            remaining: row.remaining,
            returned: row.returned,
            status: GrantStatus::from_word(&row.status)?,
            granted_by: PostingId::from_uuid(row.granted_by),
            granted_at: row.granted_at,
            expires_at: row.expires_at,
            ended: row.ended_by.map(PostingId::from_uuid).zip(row.ended_at),
        })
    }
}

fn all(rows: Vec<GrantRow>) -> Result<Vec<BonusGrant>, sqlx::Error> {
    rows.into_iter().map(BonusGrant::try_from).collect()
}

/// A grant of the tenant. With `owner`, only if it is that user's.
pub async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: GrantId,
    owner: Option<UserId>,
) -> Result<Option<BonusGrant>, sqlx::Error> {
    query_as!(
        GrantRow,
        r#"SELECT id, campaign_id, budget_wallet_id, wallet_id, owner_user_id, amount,
                remaining, returned, status::text AS "status!", granted_by, granted_at,
                expires_at, ended_by, ended_at
         FROM bonus_grants
         WHERE id = $1 AND tenant_id = $2 AND ($3::uuid IS NULL OR owner_user_id = $3)"#,
        id.uuid(),
        tenant.as_str(),
        owner.map(UserId::uuid),
    )
    .fetch_optional(conn)
    .await?
    .map(BonusGrant::try_from)
    .transpose()
}

/// The place of a grant in its wallet's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// When it was granted, in microseconds of the Unix epoch.
    granted_us: i64,
    id: GrantId,
}

impl Place {
    /// The place of `grant`.
    pub fn of(grant: &BonusGrant) -> Self {
        let micros = grant.granted_at.unix_timestamp_nanos() / 1_000;
        Self {
            granted_us: i64::try_from(micros).unwrap_or(i64::MAX),
            id: grant.id,
        }
    }
}

/// A wallet's grants after a place, newest first, all or those with a status.
pub async fn list(
    conn: &mut PgConnection,
    wallet: WalletId,
    status: Option<GrantStatus>,
    after: Option<Place>,
    limit: i64,
) -> Result<Vec<BonusGrant>, sqlx::Error> {
    let rows = query_as!(
        GrantRow,
        r#"SELECT id, campaign_id, budget_wallet_id, wallet_id, owner_user_id, amount,
                remaining, returned, status::text AS "status!", granted_by, granted_at,
                expires_at, ended_by, ended_at
         FROM bonus_grants
         WHERE wallet_id = $1
           AND ($2::text IS NULL OR status = $2::text::grant_status)
           AND ($3::bigint IS NULL
                OR (granted_at, id) < ('epoch'::timestamptz + $3 * interval '1 microsecond', $4))
         ORDER BY granted_at DESC, id DESC
         LIMIT $5"#,
        wallet.uuid(),
        status.map(Named::word),
        after.map(|place| place.granted_us),
        after.map(|place| place.id.uuid()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    all(rows)
}

/// How much a user was granted in a campaign, in minor units.
pub async fn granted(
    conn: &mut PgConnection,
    campaign: CampaignId,
    owner: UserId,
) -> Result<i64, sqlx::Error> {
    query_scalar!(
        r#"SELECT coalesce(sum(amount), 0)::bigint AS "granted!"
         FROM bonus_grants
         WHERE campaign_id = $1 AND owner_user_id = $2"#,
        campaign.uuid(),
        owner.uuid(),
    )
    .fetch_one(conn)
    .await
}

/// Active grants of any tenant whose time is over, the longest first, after one
/// of them.
pub async fn due(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    after: Option<(OffsetDateTime, GrantId)>,
    limit: i64,
) -> Result<Vec<BonusGrant>, sqlx::Error> {
    let rows = query_as!(
        GrantRow,
        r#"SELECT id, campaign_id, budget_wallet_id, wallet_id, owner_user_id, amount,
                remaining, returned, status::text AS "status!", granted_by, granted_at,
                expires_at, ended_by, ended_at
         FROM bonus_grants
         WHERE status = 'active' AND expires_at IS NOT NULL AND expires_at <= $1
           AND ($2::timestamptz IS NULL OR (expires_at, id) > ($2, $3))
         ORDER BY expires_at, id
         LIMIT $4"#,
        now,
        after.map(|(expires_at, _)| expires_at),
        after.map(|(_, id)| id.uuid()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    all(rows)
}

/// Active grants of a campaign in the order of their ids, after one.
pub async fn active_of(
    conn: &mut PgConnection,
    campaign: CampaignId,
    after: Uuid,
    limit: i64,
) -> Result<Vec<BonusGrant>, sqlx::Error> {
    let rows = query_as!(
        GrantRow,
        r#"SELECT id, campaign_id, budget_wallet_id, wallet_id, owner_user_id, amount,
                remaining, returned, status::text AS "status!", granted_by, granted_at,
                expires_at, ended_by, ended_at
         FROM bonus_grants
         WHERE campaign_id = $1 AND status = 'active' AND id > $2
         ORDER BY id
         LIMIT $3"#,
        campaign.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    all(rows)
}
