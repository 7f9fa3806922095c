//! What is kept of a wallet, to be compared with its entries, and the mending
//! of what differs.
//!
//! Rows that belong to one version, snapshots and displaced entries, are right or
//! wrong for ever once the cursor is past them: they are mended at any time and
//! without a lock. Days and the cursor itself move on, so they are replaced
//! while the cursor's row is locked; the projector passes by a locked cursor.

use std::collections::BTreeMap;

use bursar_aip::id::WalletId;
use sqlx::{PgConnection, query};
use time::Date;
use uuid::Uuid;

use super::names::{Named, unreadable};
use super::projections::{Cursor, put_displaced, put_snapshots, replace_days};
use crate::domain::drift::Difference;
use crate::domain::fold::{DaySums, Displaced, Fold, Snapshot, Turnover};
use crate::domain::wallet::{Balance, Bucket};

/// What is kept of a wallet, as of one moment.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The wallet's own version.
    pub wallet_version: i64,
    /// The wallet's own balance.
    pub wallet_balance: Balance,
    /// The version up to which it is projected, and its money there; `None` when it
    /// never was.
    pub cursor: Option<(i64, Balance)>,
    /// Its days.
    pub days: BTreeMap<Date, DaySums>,
}

/// What is kept of a wallet; `None` for no wallet.
pub async fn kept(conn: &mut PgConnection, wallet: WalletId) -> Result<Option<Kept>, sqlx::Error> {
    // One statement, so that days and cursor are of one moment. A row a day.
    let rows = query!(
        r#"SELECT wallets.version AS wallet_version, wallets.available AS wallet_available,
             wallets.held AS wallet_held, wallets.bonus AS wallet_bonus,
             cursors.version AS "version?", cursors.available AS "available?",
             cursors.held AS "held?", cursors.bonus AS "bonus?", days.day AS "day?",
             days.available_in::text AS available_in, days.available_out::text AS available_out,
             days.held_in::text AS held_in, days.held_out::text AS held_out,
             days.bonus_in::text AS bonus_in, days.bonus_out::text AS bonus_out,
             days.entries AS "entries?", days.first_version AS "first_version?",
             days.last_version AS "last_version?"
         FROM wallets
         LEFT JOIN projection_cursors AS cursors ON cursors.wallet_id = wallets.id
         LEFT JOIN wallet_days AS days ON days.wallet_id = wallets.id
         WHERE wallets.id = $1"#,
        wallet.uuid(),
    )
    .fetch_all(conn)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let cursor = match (first.version, first.available, first.held, first.bonus) {
        (Some(version), Some(available), Some(held), Some(bonus)) => {
            let balance = Balance {
                available,
                held,
                bonus,
            };
            Some((version, balance))
        }
        _ => None,
    };
    let mut kept = Kept {
        wallet_version: first.wallet_version,
        wallet_balance: Balance {
            available: first.wallet_available,
            held: first.wallet_held,
            bonus: first.wallet_bonus,
        },
        cursor,
        days: BTreeMap::new(),
    };
    for row in rows {
        let Some(day) = row.day else { continue };
        let sums = DaySums {
            available: turnover(row.available_in.as_deref(), row.available_out.as_deref())?,
            held: turnover(row.held_in.as_deref(), row.held_out.as_deref())?,
            bonus: turnover(row.bonus_in.as_deref(), row.bonus_out.as_deref())?,
            entries: row.entries.unwrap_or_default(),
            first_version: row.first_version.unwrap_or_default(),
            last_version: row.last_version.unwrap_or_default(),
        };
        kept.days.insert(day, sums);
    }
    Ok(Some(kept))
}

fn turnover(incoming: Option<&str>, outgoing: Option<&str>) -> Result<Turnover, sqlx::Error> {
    let sum = |text: Option<&str>| -> Result<i128, sqlx::Error> {
        let text = text.unwrap_or_default();
        text.parse().map_err(|_| unreadable(text))
    };
    Ok(Turnover {
        incoming: sum(incoming)?,
        outgoing: sum(outgoing)?,
    })
}

/// The snapshots that are kept of versions after one and up to another.
pub async fn snapshots(
    conn: &mut PgConnection,
    wallet: WalletId,
    after: i64,
    through: i64,
) -> Result<BTreeMap<i64, Snapshot>, sqlx::Error> {
    let rows = query!(
        "SELECT version, available, held, bonus FROM wallet_snapshots
         WHERE wallet_id = $1 AND version > $2 AND version <= $3",
        wallet.uuid(),
        after,
        through,
    )
    .fetch_all(conn)
    .await?;
    let snapshots = rows.into_iter().map(|row| {
        let balance = Balance {
            available: row.available,
            held: row.held,
            bonus: row.bonus,
        };
        let version = row.version;
        (version, Snapshot { version, balance })
    });
    Ok(snapshots.collect())
}

/// The displaced entries that are kept of versions after one and up to another.
pub async fn displaced(
    conn: &mut PgConnection,
    wallet: WalletId,
    after: i64,
    through: i64,
) -> Result<BTreeMap<i64, Displaced>, sqlx::Error> {
    let rows = query!(
        r#"SELECT version, effective_at, bucket::text AS "bucket!", amount
         FROM displaced_entries
         WHERE wallet_id = $1 AND version > $2 AND version <= $3"#,
        wallet.uuid(),
        after,
        through,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let displaced = Displaced {
                version: row.version,
                effective_at: row.effective_at,
                bucket: Bucket::from_word(&row.bucket)?,
                amount: row.amount,
            };
            Ok((row.version, displaced))
        })
        .collect()
}

/// Makes snapshots right. All their versions are behind the cursor.
pub async fn mend_snapshots(
    conn: &mut PgConnection,
    wallet: WalletId,
    difference: &Difference<i64, Snapshot>,
) -> Result<(), sqlx::Error> {
    query!(
        "DELETE FROM wallet_snapshots WHERE wallet_id = $1 AND version = ANY($2)",
        wallet.uuid(),
        &difference.excess,
    )
    .execute(&mut *conn)
    .await?;
    let wrong: Vec<_> = difference.wrong.iter().map(|row| (wallet, *row)).collect();
    put_snapshots(conn, &wrong).await
}

/// Makes displaced entries right. All their versions are behind the cursor.
pub async fn mend_displaced(
    conn: &mut PgConnection,
    wallet: WalletId,
    difference: &Difference<i64, Displaced>,
) -> Result<(), sqlx::Error> {
    query!(
        "DELETE FROM displaced_entries WHERE wallet_id = $1 AND version = ANY($2)",
        wallet.uuid(),
        &difference.excess,
    )
    .execute(&mut *conn)
    .await?;
    let wrong: Vec<_> = difference.wrong.iter().map(|row| (wallet, *row)).collect();
    put_displaced(conn, &wrong).await
}

/// Waits for the lock of a wallet's cursor, which must be there, and returns it.
pub async fn lock_cursor(conn: &mut PgConnection, wallet: WalletId) -> Result<Cursor, sqlx::Error> {
    let row = query!(
        "SELECT tenant_id, version, available, held, bonus
         FROM projection_cursors WHERE wallet_id = $1 FOR UPDATE",
        wallet.uuid(),
    )
    .fetch_one(&mut *conn)
    .await?;
    let now = query!(
        r#"SELECT version, currency AS "currency!" FROM wallets WHERE id = $1"#,
        wallet.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(Cursor {
        wallet,
        tenant: row.tenant_id,
        currency: now.currency,
        version: row.version,
        balance: Balance {
            available: row.available,
            held: row.held,
            bonus: row.bonus,
        },
        wallet_version: now.version,
    })
}

/// Sets a wallet's days and its cursor, whose lock the transaction holds, to
/// what a fold of all its entries gave, and forgets what lies beyond.
pub async fn replace(
    conn: &mut PgConnection,
    cursor: &Cursor,
    fold: &Fold,
) -> Result<(), sqlx::Error> {
    replace_days(conn, cursor, fold).await?;
    let wallet: Uuid = cursor.wallet.uuid();
    query!(
        "DELETE FROM wallet_snapshots WHERE wallet_id = $1 AND version > $2",
        wallet,
        fold.version,
    )
    .execute(&mut *conn)
    .await?;
    query!(
        "DELETE FROM displaced_entries WHERE wallet_id = $1 AND version > $2",
        wallet,
        fold.version,
    )
    .execute(&mut *conn)
    .await?;
    query!(
        "UPDATE projection_cursors SET version = $2, available = $3, held = $4, bonus = $5
         WHERE wallet_id = $1",
        wallet,
        fold.version,
        fold.balance.available,
        fold.balance.held,
        fold.balance.bonus,
    )
    .execute(conn)
    .await?;
    Ok(())
}
