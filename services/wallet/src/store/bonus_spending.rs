//! How much was spent from a wallet since a grant was made to it.
//!
//! Spent is what a transfer or a captured hold took out of the wallet and gave
//! to somebody else: not to another wallet of the same user, and not to a
//! settlement wallet, behind which a provider pays it out to the user.
//!
//! It is counted from the entries after the grant's own, a bounded number at a
//! time, and how far it was counted is kept. A wallet's entries commit in the
//! order of their versions and never change, so the sum up to a version is
//! always the same: whoever counted further is right, and nothing is locked.

use std::collections::HashMap;

use bursar_aip::id::GrantId;
use bursar_money::Currency;
use sqlx::{PgConnection, query, query_as};
use uuid::Uuid;

use crate::domain::bonus::BonusGrant;

/// What was spent up to a version of the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The version.
    pub version: i64,
    /// The sum, in minor units.
    pub spent: i64,
}

/// How far it was counted: at the beginning, up to the grant's own entry.
pub async fn counted(conn: &mut PgConnection, grant: &BonusGrant) -> Result<Counted, sqlx::Error> {
    query_as!(
        Counted,
        r#"SELECT coalesce(bonus_spending.counted_version, leg.version) AS "version!",
                coalesce(bonus_spending.spent, 0) AS "spent!"
         FROM postings
         CROSS JOIN UNNEST(postings.leg_wallet_ids, postings.leg_versions)
             AS leg (wallet_id, version)
         LEFT JOIN bonus_spending ON bonus_spending.grant_id = $3
         WHERE postings.id = $1 AND leg.wallet_id = $2"#,
        grant.granted_by.uuid(),
        grant.wallet.uuid(),
        grant.id.uuid(),
    )
    .fetch_one(conn)
    .await
}

/// What was spent since those of the grants for which all entries were counted.
pub async fn current(
    conn: &mut PgConnection,
    grants: &[Uuid],
) -> Result<HashMap<Uuid, i64>, sqlx::Error> {
    let rows = query!(
        "SELECT bonus_spending.grant_id, bonus_spending.spent
         FROM bonus_spending
         JOIN bonus_grants ON bonus_grants.id = bonus_spending.grant_id
         JOIN wallets ON wallets.id = bonus_grants.wallet_id
         WHERE bonus_spending.grant_id = ANY($1)
           AND bonus_spending.counted_version = wallets.version",
        grants,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.grant_id, row.spent))
        .collect())
}

/// Counts at most `limit` more entries. `currency` is the wallet's.
pub async fn count_on(
    conn: &mut PgConnection,
    grant: &BonusGrant,
    currency: Currency,
    from: Counted,
    limit: i64,
) -> Result<Counted, sqlx::Error> {
    // The entries that a posting has in one wallet follow each other, so it is
    // counted at the first of them. The page begins at the last entry that was
    // counted, to know whether the next one belongs to the same posting.
    let row = query!(
        r#"WITH page AS MATERIALIZED (
             SELECT version, posting_id, lag(posting_id) OVER (ORDER BY version) AS previous
             FROM entries
             WHERE wallet_id = $1 AND version >= $2
             ORDER BY version
             LIMIT $3::bigint + 1
         ), spent AS (
             SELECT greatest(0, least(
                     coalesce(-sum(entries.amount) FILTER (WHERE entries.wallet_id = $1), 0),
                     coalesce(sum(entries.amount) FILTER (
                         WHERE wallets.owner_user_id IS DISTINCT FROM $4
                           AND wallets.system_purpose IS DISTINCT FROM 'settlement'
                     ), 0)
                 )) AS minor
             FROM page
             JOIN postings ON postings.id = page.posting_id
             CROSS JOIN UNNEST(postings.leg_wallet_ids, postings.leg_versions)
                 AS leg (wallet_id, version)
             JOIN entries
                 ON entries.wallet_id = leg.wallet_id AND entries.version = leg.version
             JOIN wallets ON wallets.id = leg.wallet_id
             WHERE page.version > $2
               AND page.posting_id IS DISTINCT FROM page.previous
               AND postings.kind IN ('transfer', 'hold_capture')
               AND entries.currency = $5
             GROUP BY page.version
         )
         SELECT coalesce((SELECT max(version) FROM page), $2) AS "version!",
             coalesce((SELECT sum(minor) FROM spent), 0)::bigint AS "more!""#,
        grant.wallet.uuid(),
        from.version,
        limit,
        grant.owner.uuid(),
        currency.code(),
    )
    .fetch_one(conn)
    .await?;
    Ok(Counted {
        version: row.version,
        spent: from.spent.saturating_add(row.more),
    })
}

/// Keeps how far it was counted, unless somebody counted further.
pub async fn keep(
    conn: &mut PgConnection,
    grant: GrantId,
    counted: Counted,
) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO bonus_spending (grant_id, counted_version, spent)
         VALUES ($1, $2, $3)
         ON CONFLICT (grant_id) DO UPDATE
         SET counted_version = EXCLUDED.counted_version, spent = EXCLUDED.spent
         WHERE bonus_spending.counted_version < EXCLUDED.counted_version",
        grant.uuid(),
        counted.version,
        counted.spent,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what was counted for grants that have ended, among the next `limit`
/// after one. The last of those it looked at; `None` when there were none.
pub async fn forget_ended(
    conn: &mut PgConnection,
    after: Uuid,
    limit: i64,
) -> Result<Option<Uuid>, sqlx::Error> {
    let row = query!(
        r#"WITH page AS MATERIALIZED (
             SELECT bonus_spending.grant_id, bonus_grants.status = 'active' AS is_active
             FROM bonus_spending
             LEFT JOIN bonus_grants ON bonus_grants.id = bonus_spending.grant_id
             WHERE bonus_spending.grant_id > $1
             ORDER BY bonus_spending.grant_id
             LIMIT $2
         ), forgotten AS (
             DELETE FROM bonus_spending
             USING page
             WHERE bonus_spending.grant_id = page.grant_id AND page.is_active IS NOT TRUE
         )
         SELECT grant_id FROM page ORDER BY grant_id DESC LIMIT 1"#,
        after,
        limit,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.grant_id))
}
