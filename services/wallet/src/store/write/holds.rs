//! The holds that a batch opens, captures and ends.

use sqlx::{PgConnection, query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::HoldAfter;
use crate::domain::posting::PostingId;
use crate::store::names::Named;

/// Writes holds: new ones are inserted; each that was there is changed by a
/// compare-and-set on what was read of it under its lock. Fails with
/// `RowNotFound` when one is not as it was.
pub(super) async fn write(
    conn: &mut PgConnection,
    holds: &[&HoldAfter<'_>],
) -> Result<(), sqlx::Error> {
    let (changed, opened): (Vec<&HoldAfter<'_>>, Vec<&HoldAfter<'_>>) =
        holds.iter().partition(|after| after.before.is_some());
    if !opened.is_empty() {
        insert(conn, &opened).await?;
    }
    if !changed.is_empty() {
        update(conn, &changed).await?;
    }
    Ok(())
}

async fn insert(conn: &mut PgConnection, opened: &[&HoldAfter<'_>]) -> Result<(), sqlx::Error> {
    let each = || opened.iter().map(|after| after.hold);
    let tenants: Vec<&str> = opened.iter().map(|after| after.tenant).collect();
    let statuses: Vec<&str> = each().map(|hold| hold.status.word()).collect();
    let descriptions: Vec<&str> = each().map(|hold| hold.description.as_str()).collect();
    query!(
        "INSERT INTO holds (id, tenant_id, wallet_id, transaction_id, amount, captured_minor,
             status, description, placed_by, placed_at, expires_at, ended_by, ended_at)
         SELECT id, tenant_id, wallet_id, transaction_id, amount, captured,
             status::hold_status, description, placed_by, placed_at, expires_at, ended_by, ended_at
         FROM UNNEST($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[],
                 $7::text[], $8::text[], $9::uuid[], $10::timestamptz[], $11::timestamptz[],
                 $12::uuid[], $13::timestamptz[])
             AS hold (id, tenant_id, wallet_id, transaction_id, amount, captured, status,
                 description, placed_by, placed_at, expires_at, ended_by, ended_at)",
        &each().map(|hold| hold.id.uuid()).collect::<Vec<_>>(),
        &tenants as &[&str],
        &each().map(|hold| hold.wallet.uuid()).collect::<Vec<_>>(),
        &each()
            .map(|hold| hold.transaction.map(|transaction| transaction.uuid()))
            .collect::<Vec<_>>() as &[Option<Uuid>],
        &each().map(|hold| hold.amount).collect::<Vec<_>>(),
        &each().map(|hold| hold.captured).collect::<Vec<_>>(),
        &statuses as &[&str],
        &descriptions as &[&str],
        &each().map(|hold| hold.placed_by.uuid()).collect::<Vec<_>>(),
        &each().map(|hold| hold.placed_at).collect::<Vec<_>>(),
        &each().map(|hold| hold.expires_at).collect::<Vec<_>>() as &[Option<OffsetDateTime>],
        &each().map(|hold| ended_by(hold.ended)).collect::<Vec<_>>() as &[Option<Uuid>],
        &each().map(|hold| ended_at(hold.ended)).collect::<Vec<_>>() as &[Option<OffsetDateTime>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn update(conn: &mut PgConnection, changed: &[&HoldAfter<'_>]) -> Result<(), sqlx::Error> {
    let each = || changed.iter().map(|after| after.hold);
    let captured_before: Vec<i64> = changed
        .iter()
        .filter_map(|after| after.before.map(|before| before.captured))
        .collect();
    let statuses: Vec<&str> = each().map(|hold| hold.status.word()).collect();
    let done = query!(
        "UPDATE holds SET captured_minor = after.captured, status = after.status::hold_status,
             ended_by = after.ended_by, ended_at = after.ended_at
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::uuid[],
                 $6::timestamptz[])
             AS after (id, captured_before, captured, status, ended_by, ended_at)
         WHERE holds.id = after.id AND holds.status = 'active'
             AND holds.captured_minor = after.captured_before",
        &each().map(|hold| hold.id.uuid()).collect::<Vec<_>>(),
        &captured_before,
        &each().map(|hold| hold.captured).collect::<Vec<_>>(),
        &statuses as &[&str],
        &each().map(|hold| ended_by(hold.ended)).collect::<Vec<_>>() as &[Option<Uuid>],
        &each().map(|hold| ended_at(hold.ended)).collect::<Vec<_>>() as &[Option<OffsetDateTime>],
    )
    .execute(conn)
    .await?;
    super::expect_rows(done.rows_affected(), changed.len())
}

/// The posting that ended a hold or a grant.
pub(super) fn ended_by(ended: Option<(PostingId, OffsetDateTime)>) -> Option<Uuid> {
    ended.map(|(posting, _)| posting.uuid())
}

/// When a hold or a grant ended.
pub(super) fn ended_at(ended: Option<(PostingId, OffsetDateTime)>) -> Option<OffsetDateTime> {
    ended.map(|(_, at)| at)
}
