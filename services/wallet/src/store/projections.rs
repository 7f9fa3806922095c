//! What is derived from the ledger, and the queue of wallets whose entries are
//! not in it yet.
//!
//! Locks: rows of the queue first, then cursors in the order of their wallets.
//! Both are taken with SKIP LOCKED, so nobody waits for another projector;
//! only the insertion of new cursors may wait for another insertion, and every
//! statement inserts in the order of the ids, so such waits form no circle. No row of the ledger
//! or of wallets is locked: writers never notice.

mod rows;

use bursar_aip::id::WalletId;
use sqlx::{PgConnection, query, query_scalar};
use uuid::Uuid;

pub use self::rows::write;
pub(super) use self::rows::{put_displaced, put_snapshots, replace_days};
use super::names::Named;
use crate::domain::fold::FoldedEntry;
use crate::domain::wallet::{Balance, Bucket};

/// How far a wallet is projected, and how far it could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The wallet.
    pub wallet: WalletId,
    /// The tenant it belongs to.
    pub tenant: String,
    /// The code of its currency.
    pub currency: String,
    /// The version of the last entry that is projected.
    pub version: i64,
    /// The wallet's money at that version.
    pub balance: Balance,
    /// The wallet's version now.
    pub wallet_version: i64,
}

/// A wallet's entries after a version, up to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The wallet.
    pub wallet: WalletId,
    /// The version before the first.
    pub after: i64,
    /// The version of the last.
    pub through: i64,
}

/// Takes up to `limit` rows out of the queue, oldest first, leaving those that
/// another projector holds. Returns how many there were, and their wallets, each
/// once and in the order of their ids.
pub async fn take_queued(
    conn: &mut PgConnection,
    limit: i64,
) -> Result<(usize, Vec<Uuid>), sqlx::Error> {
    let rows = query_scalar!(
        "DELETE FROM projection_queue
         WHERE id IN (
             SELECT id FROM projection_queue ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
         )
         RETURNING wallet_ids",
        limit,
    )
    .fetch_all(conn)
    .await?;
    let taken = rows.len();
    let mut wallets: Vec<Uuid> = rows.into_iter().flatten().collect();
    wallets.sort_unstable();
    wallets.dedup();
    Ok((taken, wallets))
}

/// Puts wallets at the end of the queue.
pub async fn queue_again(conn: &mut PgConnection, wallets: &[Uuid]) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO projection_queue (tenant_id, wallet_ids)
         SELECT tenant_id, array_agg(id ORDER BY id)
         FROM wallets WHERE id = ANY($1)
         GROUP BY tenant_id",
        wallets,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the cursors of wallets, which must be in the order of their ids, and
/// begins those that are not there yet. Leaves out cursors that somebody else
/// holds.
pub async fn lock_cursors(
    conn: &mut PgConnection,
    wallets: &[Uuid],
) -> Result<Vec<Cursor>, sqlx::Error> {
    query!(
        "INSERT INTO projection_cursors (wallet_id, tenant_id, version, available, held, bonus)
         SELECT id, tenant_id, 0, 0, 0, 0
         FROM wallets
         WHERE id = ANY($1)
             AND NOT EXISTS (SELECT FROM projection_cursors WHERE wallet_id = wallets.id)
         ORDER BY id
         ON CONFLICT DO NOTHING",
        wallets,
    )
    .execute(&mut *conn)
    .await?;
    // The row lock waits for nobody, and under READ COMMITTED what it returns is
    // the row as it was last committed.
    let rows = query!(
        "SELECT cursors.wallet_id, cursors.tenant_id, cursors.version, cursors.available,
             cursors.held, cursors.bonus
         FROM projection_cursors AS cursors
         WHERE cursors.wallet_id = ANY($1)
         ORDER BY cursors.wallet_id
         FOR UPDATE SKIP LOCKED",
        wallets,
    )
    .fetch_all(&mut *conn)
    .await?;
    let now = query!(
        r#"SELECT id, version, currency AS "currency!" FROM wallets WHERE id = ANY($1) ORDER BY id"#,
        wallets,
    )
    .fetch_all(conn)
    .await?;
    let find = |id: Uuid| {
        let index = now.binary_search_by_key(&id, |wallet| wallet.id).ok()?;
        now.get(index)
    };
    let cursors = rows.into_iter().filter_map(|row| {
        let wallet = find(row.wallet_id)?;
        Some(Cursor {
            wallet: WalletId::from_uuid(row.wallet_id),
            tenant: row.tenant_id,
            currency: wallet.currency.clone(),
            version: row.version,
            balance: Balance {
                available: row.available,
                held: row.held,
                bonus: row.bonus,
            },
            wallet_version: wallet.version,
        })
    });
    Ok(cursors.collect())
}

/// The entries of spans, in the order of wallets and versions.
pub async fn entries(
    conn: &mut PgConnection,
    spans: &[Span],
) -> Result<Vec<(WalletId, FoldedEntry)>, sqlx::Error> {
    let wallets: Vec<Uuid> = spans.iter().map(|span| span.wallet.uuid()).collect();
    let after: Vec<i64> = spans.iter().map(|span| span.after).collect();
    let through: Vec<i64> = spans.iter().map(|span| span.through).collect();
    // OFFSET 0 keeps the planner from reading a whole table to join it: both
    // lookups are by primary key, however many there are.
    let rows = query!(
        r#"SELECT entry.wallet_id AS "wallet_id!", entry.version AS "version!",
             entry.bucket::text AS "bucket!", entry.amount AS "amount!",
             posting.effective_at AS "effective_at!", posting.recorded_at AS "recorded_at!"
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) AS span (wallet_id, after, through)
         CROSS JOIN LATERAL (
             SELECT wallet_id, version, bucket, amount, posting_id
             FROM entries
             WHERE wallet_id = span.wallet_id AND version > span.after
                 AND version <= span.through
             OFFSET 0
         ) AS entry
         CROSS JOIN LATERAL (
             SELECT effective_at, recorded_at FROM postings WHERE id = entry.posting_id OFFSET 0
         ) AS posting
         ORDER BY entry.wallet_id, entry.version"#,
        &wallets,
        &after,
        &through,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let entry = FoldedEntry {
                version: row.version,
                bucket: Bucket::from_word(&row.bucket)?,
                amount: row.amount,
                effective_at: row.effective_at,
                recorded_at: row.recorded_at,
            };
            Ok((WalletId::from_uuid(row.wallet_id), entry))
        })
        .collect()
}
