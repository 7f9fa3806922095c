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
    /// When it counts from.
    pub effective_at: OffsetDateTime,
}

/// Which of a wallet's entries are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The wallet.
    pub wallet: WalletId,
    /// The bucket; all when `None`.
    pub bucket: Option<Bucket>,
    /// What their postings were for; all when empty.
    pub kinds: Vec<PostingKind>,
}

impl Wanted {
    /// Whether no entry is left out.
    pub fn is_all(&self) -> bool {
        self.bucket.is_none() && self.kinds.is_empty()
    }
}

/// The entries with these versions, both included, that are wanted, at most
/// `limit` of them from the lowest or the highest version on. The caller bounds
/// the range, because every entry in it is looked at.
pub async fn in_range(
    conn: &mut PgConnection,
    wanted: &Wanted,
    versions: (i64, i64),
    is_ascending: bool,
    limit: i64,
) -> Result<Vec<ListedEntry>, sqlx::Error> {
    let kinds: Vec<&str> = wanted.kinds.iter().map(|kind| kind.word()).collect();
    let rows = query!(
        r#"SELECT entries.version, entries.bucket::text AS "bucket!", entries.amount,
                entries.balance_after, entries.posting_id, postings.kind::text AS "kind!",
                postings.transaction_id, postings.recorded_at, postings.effective_at
         FROM entries JOIN postings ON postings.id = entries.posting_id
         WHERE entries.wallet_id = $1 AND entries.version BETWEEN $2 AND $3
             AND ($4::text IS NULL OR entries.bucket = $4::text::wallet_bucket)
             AND ($5::text[] IS NULL OR postings.kind = ANY($5::text[]::posting_kind[]))
         ORDER BY CASE WHEN $6 THEN entries.version ELSE -entries.version END
         LIMIT $7"#,
        wanted.wallet.uuid(),
        versions.0,
        versions.1,
        wanted.bucket.map(Named::word),
        (!kinds.is_empty()).then_some(kinds.as_slice()) as Option<&[&str]>,
        is_ascending,
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
                effective_at: row.effective_at,
            })
        })
        .collect()
}
