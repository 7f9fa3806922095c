//! The lines of statements, page by page. Like all of a wallet's history they
//! are of the entries up to a version, and so the same whenever they are read;
//! see [`super::history`].

use bursar_aip::id::{TransactionId, WalletId};
use sqlx::{PgConnection, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::history;
use super::names::Named;
use crate::domain::history::{Line, Position, TimeBasis};
use crate::domain::posting::{PostingId, PostingKind};
use crate::domain::wallet::Bucket;

/// Which lines are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The wallet.
    pub wallet: WalletId,
    /// The version up to which entries count.
    pub as_of: i64,
    /// By which time they count and are ordered.
    pub basis: TimeBasis,
    /// After which place they begin.
    pub after: Position,
    /// The instant before which they end.
    pub before: OffsetDateTime,
}

struct LineRow {
    version: i64,
    posting_id: Uuid,
    transaction_id: Option<Uuid>,
    kind: String,
    bucket: String,
    amount: i64,
    effective_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
}

impl TryFrom<LineRow> for Line {
    type Error = sqlx::Error;

    fn try_from(row: LineRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row.version,
            posting: PostingId::from_uuid(row.posting_id),
            transaction: row.transaction_id.map(TransactionId::from_uuid),
            kind: PostingKind::from_word(&row.kind)?,
            bucket: Bucket::from_word(&row.bucket)?,
            amount: row.amount,
            effective_at: row.effective_at,
            recorded_at: row.recorded_at,
        })
    }
}

/// Up to `limit` lines of a section, in its order.
pub async fn lines(
    conn: &mut PgConnection,
    section: &Section,
    limit: i64,
) -> Result<Vec<Line>, sqlx::Error> {
    let Section { wallet, as_of, .. } = *section;
    let after = history::version(conn, wallet, as_of, section.after).await?;
    let through = history::last_before(conn, wallet, as_of, section.before).await?;
    let rows = match section.basis {
        TimeBasis::Recorded => recorded(conn, wallet, after, through, limit).await?,
        TimeBasis::Effective => effective(conn, section, after, through, limit).await?,
    };
    rows.into_iter().map(Line::try_from).collect()
}

/// The entries after one version and up to another.
async fn recorded(
    conn: &mut PgConnection,
    wallet: WalletId,
    after: i64,
    through: i64,
    limit: i64,
) -> Result<Vec<LineRow>, sqlx::Error> {
    query_as!(
        LineRow,
        r#"SELECT entries.version, entries.posting_id, postings.transaction_id,
             postings.kind::text AS "kind!", entries.bucket::text AS "bucket!", entries.amount,
             postings.effective_at, postings.recorded_at
         FROM entries JOIN postings ON postings.id = entries.posting_id
         WHERE entries.wallet_id = $1 AND entries.version > $2 AND entries.version <= $3
         ORDER BY entries.version
         LIMIT $4"#,
        wallet.uuid(),
        after,
        through,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The entries that count from their recording, which are those between two
/// versions, merged with those that do not: from the projection as far as it has
/// come, beyond it from the ledger.
async fn effective(
    conn: &mut PgConnection,
    section: &Section,
    after: i64,
    through: i64,
    limit: i64,
) -> Result<Vec<LineRow>, sqlx::Error> {
    query_as!(
        LineRow,
        r#"WITH projected AS MATERIALIZED (
             SELECT coalesce(max(version), 0) AS version
             FROM projection_cursors WHERE wallet_id = $1
         ), line AS (
             (SELECT entries.version, posting.effective_at
             FROM entries
             CROSS JOIN LATERAL (
                 SELECT effective_at, recorded_at
                 FROM postings WHERE id = entries.posting_id
                 OFFSET 0
             ) AS posting
             WHERE entries.wallet_id = $1 AND entries.version > $2 AND entries.version <= $3
                 AND posting.effective_at = posting.recorded_at
             ORDER BY entries.version
             LIMIT $8)
             UNION ALL
             (SELECT version, effective_at
             FROM displaced_entries
             WHERE wallet_id = $1 AND (effective_at, version) > ($5, $6) AND effective_at < $7
                 AND version <= least($4, (SELECT version FROM projected))
             ORDER BY effective_at, version
             LIMIT $8)
             UNION ALL
             (SELECT entries.version, posting.effective_at
             FROM entries
             CROSS JOIN LATERAL (
                 SELECT effective_at, recorded_at
                 FROM postings WHERE id = entries.posting_id
                 OFFSET 0
             ) AS posting
             WHERE entries.wallet_id = $1 AND entries.version <= $4
                 AND entries.version > (SELECT version FROM projected)
                 AND posting.effective_at <> posting.recorded_at
                 AND (posting.effective_at, entries.version) > ($5, $6)
                 AND posting.effective_at < $7
             ORDER BY posting.effective_at, entries.version
             LIMIT $8)
         ), page AS MATERIALIZED (
             SELECT version, effective_at FROM line ORDER BY effective_at, version LIMIT $8
         )
         SELECT entries.version, entries.posting_id, postings.transaction_id,
             postings.kind::text AS "kind!", entries.bucket::text AS "bucket!", entries.amount,
             postings.effective_at, postings.recorded_at
         FROM page
         JOIN entries ON entries.wallet_id = $1 AND entries.version = page.version
         JOIN postings ON postings.id = entries.posting_id
         ORDER BY page.effective_at, page.version"#,
        section.wallet.uuid(),
        after,
        through,
        section.as_of,
        section.after.at,
        section.after.version,
        section.before,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How many lines a section has, or a number above `limit` when they are more.
/// It may count a few too many: entries that were recorded in the section's time
/// and count from another one.
pub async fn count(
    conn: &mut PgConnection,
    section: &Section,
    limit: i64,
) -> Result<i64, sqlx::Error> {
    let Section { wallet, as_of, .. } = *section;
    let after = history::version(conn, wallet, as_of, section.after).await?;
    let through = history::last_before(conn, wallet, as_of, section.before).await?;
    let recorded = (through - after).max(0);
    match section.basis {
        TimeBasis::Recorded => Ok(recorded),
        TimeBasis::Effective if recorded > limit => Ok(recorded),
        TimeBasis::Effective => {
            Ok(recorded.saturating_add(count_displaced(conn, section, limit).await?))
        }
    }
}

/// How many displaced entries count in a section, up to one more than `limit`.
async fn count_displaced(
    conn: &mut PgConnection,
    section: &Section,
    limit: i64,
) -> Result<i64, sqlx::Error> {
    query_scalar!(
        r#"WITH projected AS MATERIALIZED (
             SELECT coalesce(max(version), 0) AS version
             FROM projection_cursors WHERE wallet_id = $1
         )
         SELECT count(*) AS "count!" FROM (
             (SELECT FROM displaced_entries
             WHERE wallet_id = $1 AND (effective_at, version) > ($3, $4) AND effective_at < $5
                 AND version <= least($2, (SELECT version FROM projected))
             LIMIT $6)
             UNION ALL
             (SELECT FROM entries
             CROSS JOIN LATERAL (
                 SELECT effective_at, recorded_at
                 FROM postings WHERE id = entries.posting_id
                 OFFSET 0
             ) AS posting
             WHERE entries.wallet_id = $1 AND entries.version <= $2
                 AND entries.version > (SELECT version FROM projected)
                 AND posting.effective_at <> posting.recorded_at
                 AND (posting.effective_at, entries.version) > ($3, $4)
                 AND posting.effective_at < $5
             LIMIT $6)
         ) AS displaced"#,
        section.wallet.uuid(),
        section.as_of,
        section.after.at,
        section.after.version,
        section.before,
        limit.saturating_add(1),
    )
    .fetch_one(conn)
    .await
}
