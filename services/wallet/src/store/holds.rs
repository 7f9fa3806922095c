//! Reading holds. They are changed by the ledger alone.

use bursar_aip::id::{HoldId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::Currency;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::names::{Named, unreadable};
use crate::domain::hold::{Hold, HoldStatus};
use crate::domain::posting::PostingId;

/// A hold with what its wallet says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldMoney {
    /// The hold.
    pub hold: Hold,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The currency of its wallet.
    pub currency: Currency,
}

struct Row {
    id: Uuid,
    tenant_id: String,
    wallet_id: Uuid,
    currency: String,
    transaction_id: Option<Uuid>,
    amount: i64,
    captured_minor: i64,
    status: String,
    description: String,
    placed_by: Uuid,
    placed_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    ended_by: Option<Uuid>,
    ended_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for HeldMoney {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let tenant = row.tenant_id.parse();
        Ok(Self {
            hold: Hold {
                id: HoldId::from_uuid(row.id),
                wallet: WalletId::from_uuid(row.wallet_id),
                transaction: row.transaction_id.map(TransactionId::from_uuid),
                amount: row.amount,
                captured: row.captured_minor,
                status: HoldStatus::from_word(&row.status)?,
                description: row.description,
                placed_by: PostingId::from_uuid(row.placed_by),
                placed_at: row.placed_at,
                expires_at: row.expires_at,
                ended: row.ended_by.map(PostingId::from_uuid).zip(row.ended_at),
            },
            tenant: tenant.map_err(|_| unreadable(&row.tenant_id))?,
            currency: Currency::parse(&row.currency).map_err(|_| unreadable(&row.currency))?,
        })
    }
}

fn all(rows: Vec<Row>) -> Result<Vec<HeldMoney>, sqlx::Error> {
    rows.into_iter().map(HeldMoney::try_from).collect()
}

/// A hold of the tenant. With `owner`, only if its wallet belongs to that user.
pub async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: HoldId,
    owner: Option<UserId>,
) -> Result<Option<HeldMoney>, sqlx::Error> {
    query_as!(
        Row,
        r#"SELECT holds.id, holds.tenant_id, holds.wallet_id, wallets.currency,
                holds.transaction_id, holds.amount, holds.captured_minor,
                holds.status::text AS "status!", holds.description, holds.placed_by,
                holds.placed_at, holds.expires_at, holds.ended_by, holds.ended_at
         FROM holds JOIN wallets ON wallets.id = holds.wallet_id
         WHERE holds.id = $1 AND holds.tenant_id = $2
             AND ($3::uuid IS NULL OR wallets.owner_user_id = $3)"#,
        id.uuid(),
        tenant.as_str(),
        owner.map(UserId::uuid),
    )
    .fetch_optional(conn)
    .await?
    .map(HeldMoney::try_from)
    .transpose()
}

/// The place of a hold in its wallet's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// When it was placed, in microseconds of the Unix epoch.
    placed_us: i64,
    id: HoldId,
}

impl Place {
    /// The place of `hold`.
    pub fn of(hold: &Hold) -> Self {
        let micros = hold.placed_at.unix_timestamp_nanos() / 1_000;
        Self {
            placed_us: i64::try_from(micros).unwrap_or(i64::MAX),
            id: hold.id,
        }
    }
}

/// Which of a wallet's holds are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Selection {
    /// The wallet.
    pub wallet: WalletId,
    /// Only those that are so far, if it matters.
    pub status: Option<HoldStatus>,
    /// Only those after this place.
    pub after: Option<Place>,
}

/// A wallet's holds, newest first.
pub async fn list(
    conn: &mut PgConnection,
    selection: Selection,
    limit: i64,
) -> Result<Vec<HeldMoney>, sqlx::Error> {
    let rows = query_as!(
        Row,
        r#"SELECT holds.id, holds.tenant_id, holds.wallet_id, wallets.currency,
                holds.transaction_id, holds.amount, holds.captured_minor,
                holds.status::text AS "status!", holds.description, holds.placed_by,
                holds.placed_at, holds.expires_at, holds.ended_by, holds.ended_at
         FROM holds JOIN wallets ON wallets.id = holds.wallet_id
         WHERE holds.wallet_id = $1
             AND ($2::text IS NULL OR holds.status = $2::text::hold_status)
             AND ($3::bigint IS NULL OR (holds.placed_at, holds.id)
                 < ('epoch'::timestamptz + $3 * interval '1 microsecond', $4))
         ORDER BY holds.placed_at DESC, holds.id DESC
         LIMIT $5"#,
        selection.wallet.uuid(),
        selection.status.map(HoldStatus::word),
        selection.after.map(|place| place.placed_us),
        selection.after.map(|place| place.id.uuid()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    all(rows)
}

/// Active holds of all tenants whose time was over at `now`, from the one that
/// expired first, after the one at `after`. They come by a partial index over
/// what can expire, however many holds there are.
pub async fn due(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    after: Option<(OffsetDateTime, HoldId)>,
    limit: i64,
) -> Result<Vec<HeldMoney>, sqlx::Error> {
    let rows = query_as!(
        Row,
        r#"SELECT holds.id, holds.tenant_id, holds.wallet_id, wallets.currency,
                holds.transaction_id, holds.amount, holds.captured_minor,
                holds.status::text AS "status!", holds.description, holds.placed_by,
                holds.placed_at, holds.expires_at, holds.ended_by, holds.ended_at
         FROM holds JOIN wallets ON wallets.id = holds.wallet_id
         WHERE holds.status = 'active' AND holds.expires_at <= $1
             AND ($2::timestamptz IS NULL OR (holds.expires_at, holds.id) > ($2, $3))
         ORDER BY holds.expires_at, holds.id
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

/// When the first active hold after `now` expires, if any does.
pub async fn next_expiry(
    conn: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    query_scalar!(
        r#"SELECT expires_at AS "expires_at!" FROM holds
         WHERE status = 'active' AND expires_at > $1
         ORDER BY expires_at
         LIMIT 1"#,
        now,
    )
    .fetch_optional(conn)
    .await
}
