//! Reading a wallet's ledger.

use bursar_aip::id::{TransactionId, WalletId};
use sqlx::{PgConnection, query};
use time::OffsetDateTime;

use super::names::Named;
use crate::domain::posting::{PostingId, PostingKind};
use crate::domain::wallet::Bucket;

/// An entry with what its posting says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// The wallet's version after it.
    pub version: i64,
    /// The bucket it changed.
    pub bucket: Bucket,
    /// The change in minor units.
    pub amount: i64,
    /// The bucket's balance after it.
    pub balance_after: i64,
    /// The posting.
    pub posting: PostingId,
    /// What the posting was for.
    pub kind: PostingKind,
    /// The transaction it belongs to; `None` for wallet's own operations.
    pub transaction: Option<TransactionId>,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
}

/// A wallet's entries, newest first, from before a version.
pub async fn list(
    conn: &mut PgConnection,
    wallet: WalletId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<ListedEntry>, sqlx::Error> {
    let rows = query!(
        r#"SELECT entries.version, entries.bucket::text AS "bucket!", entries.amount,
                entries.balance_after, entries.posting_id, postings.kind::text AS "kind!",
                postings.transaction_id, postings.recorded_at
         FROM entries JOIN postings ON postings.id = entries.posting_id
         WHERE entries.wallet_id = $1 AND entries.version < $2
         ORDER BY entries.version DESC
         LIMIT $3"#,
        wallet.uuid(),
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ListedEntry {
                version: row.version,
                bucket: Bucket::from_word(&row.bucket)?,
                amount: row.amount,
                balance_after: row.balance_after,
                posting: PostingId::from_uuid(row.posting_id),
                kind: PostingKind::from_word(&row.kind)?,
                transaction: row.transaction_id.map(TransactionId::from_uuid),
                recorded_at: row.recorded_at,
            })
        })
        .collect()
}
