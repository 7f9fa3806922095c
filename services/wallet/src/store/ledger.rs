//! Reading what a batch decides on: wallets and holds under locks, and the
//! postings that are in the ledger already.
//!
//! Lock order: first the wallets, by id, then the holds, by id, then the grants
//! that postings name, by id. Whatever else takes row locks on these tables takes
//! one wallet's and no more, so writers cannot wait in a circle, not even for
//! opposed transfers or one hot wallet.
//!
//! A wallet's row lock guards all that belongs to the wallet: its holds, its
//! grants and its allowance. Holds and grants that a posting names are locked by
//! themselves besides, because the posting may name another wallet than theirs.
//!
//! [`recorded`] must run after [`lock_wallets`]. A posting that is asked for
//! twice names the same wallets both times, so once we hold their locks its
//! first transaction has ended, and under READ COMMITTED the next statement
//! sees what it committed. Looking before locking could miss it, and the
//! posting could then be refused for the very money that it moved itself.

use bursar_aip::id::{CampaignId, GrantId, HoldId, TransactionId, UserId, WalletId};
use sqlx::{PgConnection, query, query_as};
use time::OffsetDateTime;
use uuid::Uuid;

use super::names::{Named, unreadable};
use super::wallets::{self, WalletRow};
use crate::domain::bonus::{BonusGrant, GrantStatus};
use crate::domain::hold::{Hold, HoldStatus};
use crate::domain::limit::{Allowance, Limits};
use crate::domain::posting::{Fingerprint, PostingId, Recorded, RecordedLeg};
use crate::domain::wallet::{Bucket, Wallet};

/// Locks wallets in the order of their ids, which `ids` must be in; ids of no
/// wallet are left out.
pub async fn lock_wallets(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Wallet>, sqlx::Error> {
    let rows = query_as!(
        WalletRow,
        r#"SELECT id, tenant_id, owner_user_id, currency, status::text AS "status!",
                available, held, bonus, min_available, version, event_version, created_at,
                posted_at, has_limits
         FROM wallets
         WHERE id = ANY($1)
         ORDER BY id
         FOR UPDATE"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    wallets::all(rows)
}

/// Locks holds in the order of their ids; ids of no hold are left out.
pub async fn lock_holds(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Hold>, sqlx::Error> {
    let rows = query!(
        r#"SELECT id, wallet_id, transaction_id, amount, captured_minor,
                status::text AS "status!", description, placed_by, placed_at, expires_at,
                ended_by, ended_at
         FROM holds
         WHERE id = ANY($1)
         ORDER BY id
         FOR UPDATE"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Hold {
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
                ended: ended(row.ended_by, row.ended_at),
            })
        })
        .collect()
}

/// Locks the grants with these ids, in the order of their ids, and the active
/// ones of these wallets, which are locked already. Ids of no grant are left out.
pub async fn lock_grants(
    conn: &mut PgConnection,
    ids: &[Uuid],
    wallets: &[Uuid],
) -> Result<Vec<BonusGrant>, sqlx::Error> {
    let rows = query!(
        r#"SELECT id, campaign_id, budget_wallet_id, wallet_id, owner_user_id, amount, remaining,
                returned, status::text AS "status!", granted_by, granted_at, expires_at,
                ended_by, ended_at
         FROM bonus_grants
         WHERE id = ANY($1) OR (wallet_id = ANY($2) AND status = 'active')
         ORDER BY id
         FOR UPDATE"#,
        ids,
        wallets,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(BonusGrant {
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
                ended: ended(row.ended_by, row.ended_at),
            })
        })
        .collect()
}

/// How much was granted in each of these campaigns to each user of these
/// wallets. The budget wallets of the campaigns are locked, so no grant of them
/// is under way anywhere else.
pub async fn granted(
    conn: &mut PgConnection,
    campaigns: &[Uuid],
    wallets: &[Uuid],
) -> Result<Vec<((CampaignId, UserId), i64)>, sqlx::Error> {
    let rows = query!(
        r#"SELECT campaign_id, owner_user_id, sum(amount)::bigint AS "amount!"
         FROM bonus_grants
         WHERE campaign_id = ANY($1)
             AND owner_user_id IN (
                 SELECT owner_user_id FROM wallets WHERE wallets.id = ANY($2)
             )
         GROUP BY campaign_id, owner_user_id"#,
        campaigns,
        wallets,
    )
    .fetch_all(conn)
    .await?;
    let sums = rows.into_iter().map(|row| {
        let key = (
            CampaignId::from_uuid(row.campaign_id),
            UserId::from_uuid(row.owner_user_id),
        );
        (key, row.amount)
    });
    Ok(sums.collect())
}

/// The allowances of wallets, which are locked.
pub async fn allowances(
    conn: &mut PgConnection,
    wallets: &[Uuid],
) -> Result<Vec<Allowance>, sqlx::Error> {
    let rows = query!(
        "SELECT wallet_id, single_minor, daily_minor, monthly_minor, day, day_spent, month,
             month_spent
         FROM wallet_limits
         WHERE wallet_id = ANY($1)",
        wallets,
    )
    .fetch_all(conn)
    .await?;
    let allowances = rows.into_iter().map(|row| Allowance {
        wallet: WalletId::from_uuid(row.wallet_id),
        limits: Limits {
            single: row.single_minor,
            daily: row.daily_minor,
            monthly: row.monthly_minor,
        },
        day: row.day,
        day_spent: row.day_spent,
        month: row.month,
        month_spent: row.month_spent,
    });
    Ok(allowances.collect())
}

fn ended(by: Option<Uuid>, at: Option<OffsetDateTime>) -> Option<(PostingId, OffsetDateTime)> {
    Some((PostingId::from_uuid(by?), at?))
}

/// Those of the postings that are in the ledger, with their first results,
/// rebuilt from what was written: nothing is stored twice.
pub async fn recorded(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Recorded>, sqlx::Error> {
    // One row a leg. The key arrays of a posting find its entries.
    let rows = query!(
        r#"SELECT postings.id, postings.tenant_id, postings.fingerprint, postings.recorded_at,
                cardinality(postings.leg_wallet_ids) AS "leg_count!",
                entries.wallet_id, entries.version, entries.bucket::text AS "bucket!",
                entries.amount, entries.balance_after, wallets.owner_user_id
         FROM postings
         CROSS JOIN UNNEST(postings.leg_wallet_ids, postings.leg_versions)
             WITH ORDINALITY AS leg (wallet_id, version, place)
         JOIN entries ON entries.wallet_id = leg.wallet_id AND entries.version = leg.version
         JOIN wallets ON wallets.id = leg.wallet_id
         WHERE postings.id = ANY($1)
         ORDER BY postings.id, leg.place"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found = Vec::new();
    for legs in rows.chunk_by(|left, right| left.id == right.id) {
        let posting = &legs[0];
        if usize::try_from(posting.leg_count) != Ok(legs.len()) {
            return Err(unreadable(format!(
                "posting {} of missing entries",
                posting.id
            )));
        }
        let tenant = &posting.tenant_id;
        found.push(Recorded {
            id: PostingId::from_uuid(posting.id),
            tenant: tenant.parse().map_err(|_| unreadable(tenant))?,
            fingerprint: Fingerprint::try_from(posting.fingerprint.as_slice())
                .map_err(|_| unreadable("a fingerprint of another length"))?,
            recorded_at: posting.recorded_at,
            legs: legs
                .iter()
                .map(|leg| {
                    Ok(RecordedLeg {
                        wallet: WalletId::from_uuid(leg.wallet_id),
                        owner: leg.owner_user_id.map(UserId::from_uuid),
                        bucket: Bucket::from_word(&leg.bucket)?,
                        amount: leg.amount,
                        version: leg.version,
                        balance_after: leg.balance_after,
                    })
                })
                .collect::<Result<_, sqlx::Error>>()?,
        });
    }
    Ok(found)
}
