//! A wallet's money at any place of its history.
//!
//! Everything here is about the entries up to a version `as_of` that was
//! committed before. They never change, so each question has one answer
//! whenever it is asked, and several statements need no common snapshot. What
//! is projected only makes the answer quicker: what a statement finds there
//! and what it reads from the entries beyond are of that statement's snapshot.
//!
//! By the time of recording, entries are in the order of their versions, so the
//! last version before an instant is found by halving: some twenty lookups by
//! primary key for a million entries. By effective time that answer is put right
//! by the entries that count from another time: those that were recorded later
//! come in, those that count only later go out.

use bursar_aip::id::WalletId;
use sqlx::{PgConnection, query_as, query_scalar};
use time::{Duration, OffsetDateTime};

use crate::domain::history::{Position, TimeBasis};
use crate::domain::wallet::Balance;

/// Sums of entries by bucket.
struct Sums {
    available: i64,
    held: i64,
    bonus: i64,
}

impl From<Sums> for Balance {
    fn from(sums: Sums) -> Self {
        Self {
            available: sums.available,
            held: sums.held,
            bonus: sums.bonus,
        }
    }
}

/// The wallet's money at a place, of its entries up to version `as_of`.
pub async fn balance(
    conn: &mut PgConnection,
    wallet: WalletId,
    as_of: i64,
    basis: TimeBasis,
    position: Position,
) -> Result<Balance, sqlx::Error> {
    let version = version(conn, wallet, as_of, position).await?;
    let recorded = balance_of_version(conn, wallet, version).await?;
    match basis {
        TimeBasis::Recorded => Ok(recorded),
        TimeBasis::Effective => {
            let moved = displacement(conn, wallet, as_of, version, position).await?;
            // The sum is of entries whose sums the ledger kept in range, in another
            // order; what wraps on the way is wrapped back.
            Ok(Balance {
                available: recorded.available.wrapping_add(moved.available),
                held: recorded.held.wrapping_add(moved.held),
                bonus: recorded.bonus.wrapping_add(moved.bonus),
            })
        }
    }
}

/// The version of the last entry up to a place by the time of recording.
pub async fn version(
    conn: &mut PgConnection,
    wallet: WalletId,
    as_of: i64,
    position: Position,
) -> Result<i64, sqlx::Error> {
    // The next instant that the database tells apart.
    let next = position.at.saturating_add(Duration::MICROSECOND);
    if position.version == i64::MAX {
        return last_before(conn, wallet, as_of, next).await;
    }
    let before = last_before(conn, wallet, as_of, position.at).await?;
    if position.version <= before {
        return Ok(before);
    }
    let through = last_before(conn, wallet, as_of, next).await?;
    Ok(position.version.min(through))
}

/// The last version, up to `as_of`, that was recorded before an instant; 0 for
/// none. Fails with `RowNotFound` when an entry or posting on the way is missing.
pub async fn last_before(
    conn: &mut PgConnection,
    wallet: WalletId,
    as_of: i64,
    before: OffsetDateTime,
) -> Result<i64, sqlx::Error> {
    // What is sought is never below `low` and never above `high`.
    query_scalar!(
        r#"WITH RECURSIVE search (low, high) AS (
             SELECT 0::bigint, $2::bigint
             UNION ALL
             SELECT CASE WHEN probe.is_before THEN halved.middle ELSE halved.low END,
                 CASE WHEN probe.is_before THEN halved.high ELSE halved.middle - 1 END
             FROM (
                 SELECT low, high, low + (high - low + 1) / 2 AS middle
                 FROM search WHERE low < high
             ) AS halved
             CROSS JOIN LATERAL (
                 SELECT postings.recorded_at < $3 AS is_before
                 FROM entries JOIN postings ON postings.id = entries.posting_id
                 WHERE entries.wallet_id = $1 AND entries.version = halved.middle
                 OFFSET 0
             ) AS probe
         )
         SELECT low AS "version!" FROM search WHERE low = high"#,
        wallet.uuid(),
        as_of,
        before,
    )
    .fetch_one(conn)
    .await
}

/// The wallet's money at a version: the nearest snapshot before it and the
/// entries since.
pub async fn balance_of_version(
    conn: &mut PgConnection,
    wallet: WalletId,
    version: i64,
) -> Result<Balance, sqlx::Error> {
    query_as!(
        Sums,
        r#"WITH base AS MATERIALIZED (
             SELECT version, available, held, bonus
             FROM wallet_snapshots
             WHERE wallet_id = $1 AND version <= $2
             ORDER BY version DESC
             LIMIT 1
         )
         SELECT (coalesce((SELECT available FROM base), 0)
                 + coalesce(sum(amount) FILTER (WHERE bucket = 'available'), 0))::bigint
                 AS "available!",
             (coalesce((SELECT held FROM base), 0)
                 + coalesce(sum(amount) FILTER (WHERE bucket = 'held'), 0))::bigint AS "held!",
             (coalesce((SELECT bonus FROM base), 0)
                 + coalesce(sum(amount) FILTER (WHERE bucket = 'bonus'), 0))::bigint AS "bonus!"
         FROM entries
         WHERE wallet_id = $1 AND version <= $2
             AND version > coalesce((SELECT version FROM base), 0)"#,
        wallet.uuid(),
        version,
    )
    .fetch_one(conn)
    .await
    .map(Balance::from)
}

/// What the displaced entries change about the balance at `version`, the last
/// one up to `position` by the time of recording.
async fn displacement(
    conn: &mut PgConnection,
    wallet: WalletId,
    as_of: i64,
    version: i64,
    position: Position,
) -> Result<Balance, sqlx::Error> {
    query_as!(
        Sums,
        r#"WITH projected AS MATERIALIZED (
             SELECT coalesce(max(version), 0) AS version
             FROM projection_cursors WHERE wallet_id = $1
         ), moved AS (
             SELECT bucket, amount
             FROM displaced_entries
             WHERE wallet_id = $1 AND version > $3
                 AND version <= least($2, (SELECT version FROM projected))
                 AND (effective_at, version) <= ($4, $5)
             UNION ALL
             SELECT bucket, -amount
             FROM displaced_entries
             WHERE wallet_id = $1 AND version <= least($3, (SELECT version FROM projected))
                 AND (effective_at, version) > ($4, $5)
             UNION ALL
             SELECT entries.bucket,
                 CASE WHEN entries.version > $3 THEN entries.amount ELSE -entries.amount END
             FROM entries
             CROSS JOIN LATERAL (
                 SELECT effective_at, recorded_at
                 FROM postings WHERE id = entries.posting_id
                 OFFSET 0
             ) AS posting
             WHERE entries.wallet_id = $1 AND entries.version <= $2
                 AND entries.version > (SELECT version FROM projected)
                 AND posting.effective_at <> posting.recorded_at
                 AND ((posting.effective_at, entries.version) <= ($4, $5)) = (entries.version > $3)
         )
         SELECT coalesce(sum(amount) FILTER (WHERE bucket = 'available'), 0)::bigint
                 AS "available!",
             coalesce(sum(amount) FILTER (WHERE bucket = 'held'), 0)::bigint AS "held!",
             coalesce(sum(amount) FILTER (WHERE bucket = 'bonus'), 0)::bigint AS "bonus!"
         FROM moved"#,
        wallet.uuid(),
        as_of,
        version,
        position.at,
        position.version,
    )
    .fetch_one(conn)
    .await
    .map(Balance::from)
}
