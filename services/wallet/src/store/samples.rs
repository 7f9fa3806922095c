//! The invariants, asked of a few wallets and of parts of their histories.
//!
//! What `verify` reads as whole tables is read here through primary keys, of a
//! handful of wallets at a time, so that it can go on beside the traffic. All
//! queries of one sample must be asked in one snapshot: a wallet and its entries
//! are written together, and only together are they right.

use sqlx::{PgConnection, query, query_scalar};
use uuid::Uuid;

/// How many pages of wallets a random sample is taken from.
const SAMPLED_PAGES: f64 = 4.0;
/// How many entries a window has.
const WINDOW_ENTRIES: i64 = 100;
/// The most entries that are summed up to compare a balance.
const MAX_SUMMED: i64 = 5_000;

/// Parts of wallets' histories, as one array a column: the entries of versions
/// after one and up to another.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    /// The wallets, each once or twice.
    pub wallet_id: Vec<Uuid>,
    /// The version before each window.
    pub after: Vec<i64>,
    /// The last version of each.
    pub through: Vec<i64>,
}

impl Windows {
    /// How many entries the windows have together.
    pub fn entries(&self) -> i64 {
        let lengths = self.after.iter().zip(&self.through);
        lengths.map(|(after, through)| through - after).sum()
    }
}

/// Something that breaks an invariant: which wallet or posting, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    /// The wallet or posting.
    pub id: Uuid,
    /// The version of the entry, where it is about one.
    pub version: i64,
}

/// Some wallets at random and some that changed lately, up to `each` of both.
pub async fn pick(conn: &mut PgConnection, each: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    query_scalar!(
        r#"SELECT id AS "id!" FROM (
             (SELECT id FROM wallets
             TABLESAMPLE SYSTEM (
                 least(100, 100 * $2::float8 * current_setting('block_size')::float8
                     / greatest(pg_relation_size('wallets'), 1))
             )
             ORDER BY random() LIMIT $1)
             UNION
             (SELECT changed.id FROM (
                 (SELECT unnest(wallet_ids) AS id FROM (
                     SELECT wallet_ids FROM ledger_unsealed ORDER BY id DESC LIMIT 4
                 ) AS unsealed)
                 UNION
                 (SELECT unnest(wallet_ids) FROM (
                     SELECT wallet_ids FROM projection_queue ORDER BY id DESC LIMIT 4
                 ) AS queued)
             ) AS changed
             ORDER BY random() LIMIT $1)
         ) AS picked"#,
        each,
        SAMPLED_PAGES,
    )
    .fetch_all(conn)
    .await
}

/// The latest window of each wallet, and one somewhere before it.
pub async fn windows(conn: &mut PgConnection, wallets: &[Uuid]) -> Result<Windows, sqlx::Error> {
    let rows = query!(
        r#"WITH picked AS MATERIALIZED (
             SELECT id, version, greatest(version - $2, 0) AS latest FROM wallets WHERE id = ANY($1)
         ), earlier AS MATERIALIZED (
             SELECT id, floor(random() * latest)::bigint AS after, latest
             FROM picked WHERE latest > 0
         )
         SELECT id AS "wallet_id!", latest AS "after!", version AS "through!" FROM picked
         UNION ALL
         SELECT id, after, least(after + $2, latest) FROM earlier"#,
        wallets,
        WINDOW_ENTRIES,
    )
    .fetch_all(conn)
    .await?;
    let mut windows = Windows::default();
    for row in rows {
        windows.wallet_id.push(row.wallet_id);
        windows.after.push(row.after);
        windows.through.push(row.through);
    }
    Ok(windows)
}

/// The postings that have entries in the windows, up to `limit`.
pub async fn postings(
    conn: &mut PgConnection,
    windows: &Windows,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    query_scalar!(
        r#"SELECT DISTINCT entry.posting_id AS "posting_id!"
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) AS span (wallet_id, after, through)
         CROSS JOIN LATERAL (
             SELECT posting_id FROM entries
             WHERE wallet_id = span.wallet_id AND version > span.after
                 AND version <= span.through
             OFFSET 0
         ) AS entry
         LIMIT $4"#,
        &windows.wallet_id,
        &windows.after,
        &windows.through,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Invariant 1, posting by posting: postings whose entries do not sum to zero in
/// each currency, or are fewer than two.
pub async fn unbalanced(
    conn: &mut PgConnection,
    postings: &[Uuid],
) -> Result<Vec<Offence>, sqlx::Error> {
    let found = query_scalar!(
        r#"SELECT DISTINCT posting.id AS "id!"
         FROM UNNEST($1::uuid[]) AS wanted (id)
         CROSS JOIN LATERAL (
             SELECT id, leg_wallet_ids, leg_versions FROM postings WHERE id = wanted.id OFFSET 0
         ) AS posting
         CROSS JOIN LATERAL (
             SELECT FROM UNNEST(posting.leg_wallet_ids, posting.leg_versions)
                 AS leg (wallet_id, version)
             JOIN entries ON entries.wallet_id = leg.wallet_id AND entries.version = leg.version
             GROUP BY entries.currency
             HAVING sum(entries.amount) <> 0 OR count(*) < 2
         ) AS broken"#,
        postings,
    )
    .fetch_all(conn)
    .await?;
    Ok(whole(found))
}

/// Invariant 2: postings that name an entry that is missing or another posting's.
pub async fn misnamed(
    conn: &mut PgConnection,
    postings: &[Uuid],
) -> Result<Vec<Offence>, sqlx::Error> {
    let found = query_scalar!(
        r#"SELECT DISTINCT posting.id AS "id!"
         FROM UNNEST($1::uuid[]) AS wanted (id)
         CROSS JOIN LATERAL (
             SELECT id, leg_wallet_ids, leg_versions FROM postings WHERE id = wanted.id OFFSET 0
         ) AS posting
         CROSS JOIN LATERAL UNNEST(posting.leg_wallet_ids, posting.leg_versions)
             AS leg (wallet_id, version)
         LEFT JOIN LATERAL (
             SELECT posting_id FROM entries
             WHERE wallet_id = leg.wallet_id AND version = leg.version
             OFFSET 0
         ) AS entry ON true
         WHERE entry.posting_id IS DISTINCT FROM posting.id"#,
        postings,
    )
    .fetch_all(conn)
    .await?;
    Ok(whole(found))
}

/// Invariant 3: wallets whose balance is not the sum of their entries, counted
/// from the nearest snapshot. Wallets that have none near are left out.
pub async fn wrong_balances(
    conn: &mut PgConnection,
    wallets: &[Uuid],
) -> Result<Vec<Offence>, sqlx::Error> {
    let found = query_scalar!(
        r#"SELECT wallets.id
         FROM wallets
         LEFT JOIN LATERAL (
             SELECT version, available, held, bonus FROM wallet_snapshots
             WHERE wallet_id = wallets.id AND version <= wallets.version
             ORDER BY version DESC LIMIT 1
         ) AS base ON true
         CROSS JOIN LATERAL (
             SELECT coalesce(base.available, 0)
                     + coalesce(sum(amount) FILTER (WHERE bucket = 'available'), 0) AS available,
                 coalesce(base.held, 0)
                     + coalesce(sum(amount) FILTER (WHERE bucket = 'held'), 0) AS held,
                 coalesce(base.bonus, 0)
                     + coalesce(sum(amount) FILTER (WHERE bucket = 'bonus'), 0) AS bonus
             FROM entries
             WHERE entries.wallet_id = wallets.id
                 AND entries.version > coalesce(base.version, 0)
                 AND entries.version <= coalesce(base.version, 0) + $2
         ) AS summed
         WHERE wallets.id = ANY($1)
             AND wallets.version - coalesce(base.version, 0) <= $2
             AND (wallets.available, wallets.held, wallets.bonus)
                 IS DISTINCT FROM (summed.available, summed.held, summed.bonus)"#,
        wallets,
        MAX_SUMMED,
    )
    .fetch_all(conn)
    .await?;
    Ok(whole(found))
}

/// Invariant 4: wallets below their floor, and entries that left held or bonus
/// money below zero.
pub async fn below_floor(
    conn: &mut PgConnection,
    wallets: &[Uuid],
    windows: &Windows,
) -> Result<Vec<Offence>, sqlx::Error> {
    let found = query!(
        r#"SELECT id AS "id!", 0::bigint AS "version!" FROM wallets
         WHERE id = ANY($1) AND (available < min_available OR held < 0 OR bonus < 0)
         UNION ALL
         SELECT entry.wallet_id, entry.version
         FROM UNNEST($2::uuid[], $3::bigint[], $4::bigint[]) AS span (wallet_id, after, through)
         CROSS JOIN LATERAL (
             SELECT wallet_id, version FROM entries
             WHERE wallet_id = span.wallet_id AND version > span.after
                 AND version <= span.through AND bucket IN ('held', 'bonus') AND balance_after < 0
             OFFSET 0
         ) AS entry"#,
        wallets,
        &windows.wallet_id,
        &windows.after,
        &windows.through,
    )
    .fetch_all(conn)
    .await?;
    let offences = found.into_iter().map(|row| Offence {
        id: row.id,
        version: row.version,
    });
    Ok(offences.collect())
}

/// Invariant 5: wallets whose held money is not the sum of their active holds, or
/// whose bonus money is not what remains of their active grants.
pub async fn wrong_holds(
    conn: &mut PgConnection,
    wallets: &[Uuid],
) -> Result<Vec<Offence>, sqlx::Error> {
    let found = query_scalar!(
        "SELECT wallets.id
         FROM wallets
         CROSS JOIN LATERAL (
             SELECT coalesce(sum(amount - captured_minor), 0) AS held
             FROM holds WHERE wallet_id = wallets.id AND status = 'active'
         ) AS active
         CROSS JOIN LATERAL (
             SELECT coalesce(sum(remaining), 0) AS bonus
             FROM bonus_grants WHERE wallet_id = wallets.id AND status = 'active'
         ) AS granted
         WHERE wallets.id = ANY($1)
             AND (wallets.held <> active.held OR wallets.bonus <> granted.bonus)",
        wallets,
    )
    .fetch_all(conn)
    .await?;
    Ok(whole(found))
}

/// Invariant 6: entries without their posting.
pub async fn orphans(
    conn: &mut PgConnection,
    windows: &Windows,
) -> Result<Vec<Offence>, sqlx::Error> {
    let found = query!(
        r#"SELECT entry.wallet_id AS "id!", entry.version AS "version!"
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) AS span (wallet_id, after, through)
         CROSS JOIN LATERAL (
             SELECT wallet_id, version, posting_id, tenant_id FROM entries
             WHERE wallet_id = span.wallet_id AND version > span.after
                 AND version <= span.through
             OFFSET 0
         ) AS entry
         LEFT JOIN LATERAL (
             SELECT tenant_id FROM postings WHERE id = entry.posting_id OFFSET 0
         ) AS posting ON true
         WHERE posting.tenant_id IS DISTINCT FROM entry.tenant_id"#,
        &windows.wallet_id,
        &windows.after,
        &windows.through,
    )
    .fetch_all(conn)
    .await?;
    let offences = found.into_iter().map(|row| Offence {
        id: row.id,
        version: row.version,
    });
    Ok(offences.collect())
}

/// Invariant 8: windows in which a version is missing, and wallets with an entry
/// beyond their version.
pub async fn gaps(conn: &mut PgConnection, windows: &Windows) -> Result<Vec<Offence>, sqlx::Error> {
    let found = query!(
        r#"SELECT span.wallet_id AS "id!", span.after AS "version!"
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) AS span (wallet_id, after, through)
         CROSS JOIN LATERAL (
             SELECT count(*) AS entries FROM entries
             WHERE wallet_id = span.wallet_id AND version > span.after
                 AND version <= span.through
         ) AS counted
         JOIN wallets ON wallets.id = span.wallet_id
         WHERE counted.entries <> span.through - span.after
             OR EXISTS (
                 SELECT FROM entries
                 WHERE wallet_id = span.wallet_id AND version > wallets.version
             )"#,
        &windows.wallet_id,
        &windows.after,
        &windows.through,
    )
    .fetch_all(conn)
    .await?;
    let offences = found.into_iter().map(|row| Offence {
        id: row.id,
        version: row.version,
    });
    Ok(offences.collect())
}

/// Invariant 9: entries whose balance is not the one before and their amount.
/// The first entry of a bucket in a window that begins later has none before.
pub async fn unchained(
    conn: &mut PgConnection,
    windows: &Windows,
) -> Result<Vec<Offence>, sqlx::Error> {
    let found = query!(
        r#"SELECT wallet_id AS "id!", version AS "version!" FROM (
             SELECT span.wallet_id, entry.version, entry.amount, entry.balance_after,
                 lag(entry.balance_after, 1, CASE WHEN span.after = 0 THEN 0::bigint END) OVER (
                     PARTITION BY span.wallet_id, span.after, entry.bucket ORDER BY entry.version
                 ) AS balance_before
             FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[])
                 AS span (wallet_id, after, through)
             CROSS JOIN LATERAL (
                 SELECT version, amount, balance_after, bucket FROM entries
                 WHERE wallet_id = span.wallet_id AND version > span.after
                     AND version <= span.through
                 OFFSET 0
             ) AS entry
         ) AS chained
         WHERE balance_after <> balance_before + amount"#,
        &windows.wallet_id,
        &windows.after,
        &windows.through,
    )
    .fetch_all(conn)
    .await?;
    let offences = found.into_iter().map(|row| Offence {
        id: row.id,
        version: row.version,
    });
    Ok(offences.collect())
}

/// Offences that are about a wallet or posting as a whole.
fn whole(ids: Vec<Uuid>) -> Vec<Offence> {
    let offences = ids.into_iter().map(|id| Offence { id, version: 0 });
    offences.collect()
}
