//! Writing what was folded.

use bursar_aip::id::WalletId;
use sqlx::{PgConnection, query};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::Cursor;
use crate::domain::fold::{DaySums, Displaced, Fold, Snapshot};
use crate::store::names::Named;

/// The rows of days as one array a column. Sums travel as text: they may be
/// wider than 64 bits.
#[derive(Default)]
struct Days<'a> {
    wallet_id: Vec<Uuid>,
    day: Vec<Date>,
    tenant_id: Vec<&'a str>,
    currency: Vec<&'a str>,
    available_in: Vec<String>,
    available_out: Vec<String>,
    held_in: Vec<String>,
    held_out: Vec<String>,
    bonus_in: Vec<String>,
    bonus_out: Vec<String>,
    entries: Vec<i64>,
    first_version: Vec<i64>,
    last_version: Vec<i64>,
}

impl<'a> Days<'a> {
    fn push(&mut self, cursor: &'a Cursor, day: Date, sums: &DaySums) {
        self.wallet_id.push(cursor.wallet.uuid());
        self.day.push(day);
        self.tenant_id.push(&cursor.tenant);
        self.currency.push(&cursor.currency);
        self.available_in.push(sums.available.incoming.to_string());
        self.available_out.push(sums.available.outgoing.to_string());
        self.held_in.push(sums.held.incoming.to_string());
        self.held_out.push(sums.held.outgoing.to_string());
        self.bonus_in.push(sums.bonus.incoming.to_string());
        self.bonus_out.push(sums.bonus.outgoing.to_string());
        self.entries.push(sums.entries);
        self.first_version.push(sums.first_version);
        self.last_version.push(sums.last_version);
    }
}

/// Adds what was folded since the cursors, whose locks the transaction holds,
/// and moves them on. Fails with `RowNotFound`, so that nothing is committed,
/// when a cursor is no longer where it was.
pub async fn write(
    conn: &mut PgConnection,
    folded: &[(&Cursor, &Fold)],
) -> Result<(), sqlx::Error> {
    let mut days = Days::default();
    for (cursor, fold) in folded {
        for (day, sums) in &fold.days {
            days.push(cursor, *day, sums);
        }
    }
    add_days(conn, &days).await?;
    let mut snapshots = Vec::new();
    let mut displaced = Vec::new();
    for (cursor, fold) in folded {
        snapshots.extend(fold.snapshots.iter().map(|row| (cursor.wallet, *row)));
        displaced.extend(fold.displaced.iter().map(|row| (cursor.wallet, *row)));
    }
    put_snapshots(conn, &snapshots).await?;
    put_displaced(conn, &displaced).await?;
    move_cursors(conn, folded).await
}

async fn add_days(conn: &mut PgConnection, days: &Days<'_>) -> Result<(), sqlx::Error> {
    query!(
        "INSERT INTO wallet_days (wallet_id, day, tenant_id, currency, available_in,
             available_out, held_in, held_out, bonus_in, bonus_out, entries, first_version,
             last_version)
         SELECT wallet_id, day, tenant_id, currency, available_in::numeric,
             available_out::numeric, held_in::numeric, held_out::numeric, bonus_in::numeric,
             bonus_out::numeric, entries, first_version, last_version
         FROM UNNEST($1::uuid[], $2::date[], $3::text[], $4::text[], $5::text[], $6::text[],
                 $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bigint[],
                 $13::bigint[])
             AS added (wallet_id, day, tenant_id, currency, available_in, available_out, held_in,
                 held_out, bonus_in, bonus_out, entries, first_version, last_version)
         ON CONFLICT (wallet_id, day) DO UPDATE SET
             available_in = wallet_days.available_in + excluded.available_in,
             available_out = wallet_days.available_out + excluded.available_out,
             held_in = wallet_days.held_in + excluded.held_in,
             held_out = wallet_days.held_out + excluded.held_out,
             bonus_in = wallet_days.bonus_in + excluded.bonus_in,
             bonus_out = wallet_days.bonus_out + excluded.bonus_out,
             entries = wallet_days.entries + excluded.entries,
             first_version = least(wallet_days.first_version, excluded.first_version),
             last_version = greatest(wallet_days.last_version, excluded.last_version)",
        &days.wallet_id,
        &days.day,
        &days.tenant_id as &[&str],
        &days.currency as &[&str],
        &days.available_in,
        &days.available_out,
        &days.held_in,
        &days.held_out,
        &days.bonus_in,
        &days.bonus_out,
        &days.entries,
        &days.first_version,
        &days.last_version,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces all days of a wallet, whose cursor the transaction holds.
pub(in crate::store) async fn replace_days(
    conn: &mut PgConnection,
    cursor: &Cursor,
    fold: &Fold,
) -> Result<(), sqlx::Error> {
    query!(
        "DELETE FROM wallet_days WHERE wallet_id = $1",
        cursor.wallet.uuid()
    )
    .execute(&mut *conn)
    .await?;
    let mut days = Days::default();
    for (day, sums) in &fold.days {
        days.push(cursor, *day, sums);
    }
    add_days(conn, &days).await
}

/// Writes snapshots over whatever is at their versions.
pub(in crate::store) async fn put_snapshots(
    conn: &mut PgConnection,
    rows: &[(WalletId, Snapshot)],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Snapshot) -> i64| -> Vec<i64> {
        rows.iter().map(|(_, snapshot)| of(snapshot)).collect()
    };
    let wallets: Vec<Uuid> = rows.iter().map(|(wallet, _)| wallet.uuid()).collect();
    query!(
        "INSERT INTO wallet_snapshots (wallet_id, version, available, held, bonus)
         SELECT wallet_id, version, available, held, bonus
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
             AS kept (wallet_id, version, available, held, bonus)
         ON CONFLICT (wallet_id, version) DO UPDATE SET
             available = excluded.available, held = excluded.held, bonus = excluded.bonus",
        &wallets,
        &column(|snapshot| snapshot.version),
        &column(|snapshot| snapshot.balance.available),
        &column(|snapshot| snapshot.balance.held),
        &column(|snapshot| snapshot.balance.bonus),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes displaced entries over whatever is at their versions.
pub(in crate::store) async fn put_displaced(
    conn: &mut PgConnection,
    rows: &[(WalletId, Displaced)],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let wallets: Vec<Uuid> = rows.iter().map(|(wallet, _)| wallet.uuid()).collect();
    let versions: Vec<i64> = rows.iter().map(|(_, row)| row.version).collect();
    let times: Vec<OffsetDateTime> = rows.iter().map(|(_, row)| row.effective_at).collect();
    let buckets: Vec<&str> = rows.iter().map(|(_, row)| row.bucket.word()).collect();
    let amounts: Vec<i64> = rows.iter().map(|(_, row)| row.amount).collect();
    query!(
        "INSERT INTO displaced_entries (wallet_id, version, effective_at, bucket, amount)
         SELECT wallet_id, version, effective_at, bucket::wallet_bucket, amount
         FROM UNNEST($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::bigint[])
             AS displaced (wallet_id, version, effective_at, bucket, amount)
         ON CONFLICT (wallet_id, version) DO UPDATE SET
             effective_at = excluded.effective_at, bucket = excluded.bucket,
             amount = excluded.amount",
        &wallets,
        &versions,
        &times,
        &buckets as &[&str],
        &amounts,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn move_cursors(
    conn: &mut PgConnection,
    folded: &[(&Cursor, &Fold)],
) -> Result<(), sqlx::Error> {
    let column =
        |of: fn(&Fold) -> i64| -> Vec<i64> { folded.iter().map(|(_, fold)| of(fold)).collect() };
    let wallets: Vec<Uuid> = folded
        .iter()
        .map(|(cursor, _)| cursor.wallet.uuid())
        .collect();
    let before: Vec<i64> = folded.iter().map(|(cursor, _)| cursor.version).collect();
    let done = query!(
        "UPDATE projection_cursors SET version = moved.version, available = moved.available,
             held = moved.held, bonus = moved.bonus
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                 $6::bigint[]) AS moved (wallet_id, before, version, available, held, bonus)
         WHERE projection_cursors.wallet_id = moved.wallet_id
             AND projection_cursors.version = moved.before",
        &wallets,
        &before,
        &column(|fold| fold.version),
        &column(|fold| fold.balance.available),
        &column(|fold| fold.balance.held),
        &column(|fold| fold.balance.bonus),
    )
    .execute(conn)
    .await?;
    if usize::try_from(done.rows_affected()) == Ok(folded.len()) {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}
