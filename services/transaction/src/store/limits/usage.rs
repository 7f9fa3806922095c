//! The rows of what is used, and the movements they are made from.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use time::Date;

use super::keys::Columns;
use crate::domain::limit::{UsageKey, Used};
use crate::store::unreadable;

/// Makes rows from the movements there are. A row that somebody else made meanwhile
/// stays as it is.
#[tracing::instrument(name = "store.limits.make", skip_all)]
pub(super) async fn make(conn: &mut PgConnection, keys: &[UsageKey]) -> Result<(), sqlx::Error> {
    let columns = Columns::of(keys);
    sqlx::query!(
        "WITH needed AS (
             SELECT tenant_id, user_id, movement, currency_code, period, starts_on, from_at, to_at,
                 first_id
             FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::date[],
                     $7::timestamptz[], $8::timestamptz[], $9::uuid[])
                 AS needed (tenant_id, user_id, movement, currency_code, period, starts_on,
                     from_at, to_at, first_id)
         ),
         moved AS (
             SELECT needed.user_id, needed.movement, needed.currency_code, needed.period,
                 needed.starts_on, transactions.amount_minor
             FROM needed
             JOIN transactions
                 ON transactions.initiator_user_id = needed.user_id
                AND transactions.transaction_id >= needed.first_id
                AND transactions.kind = needed.movement
                AND transactions.currency_code = needed.currency_code
                AND transactions.created_at >= needed.from_at
                AND transactions.created_at < needed.to_at
                AND transactions.state <> 'FAILED'
             ORDER BY transactions.transaction_id
             FOR SHARE OF transactions
         )
         INSERT INTO limit_usage (
             tenant_id, user_id, movement, currency_code, period, starts_on, used_minor, movements
         )
         SELECT needed.tenant_id, user_id, movement, currency_code, period, starts_on,
             coalesce(sum(moved.amount_minor), 0), count(moved.amount_minor)
         FROM needed
         LEFT JOIN moved USING (user_id, movement, currency_code, period, starts_on)
         GROUP BY needed.tenant_id, user_id, movement, currency_code, period, starts_on
         ORDER BY user_id, movement, currency_code, period, starts_on
         ON CONFLICT DO NOTHING",
        &columns.tenants,
        &columns.users,
        &columns.movements as &[&str],
        &columns.currencies as &[&str],
        &columns.periods as &[&str],
        &columns.starts,
        &columns.from,
        &columns.to,
        &columns.first,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds to rows that are locked.
#[tracing::instrument(name = "store.limits.add", skip_all)]
pub(super) async fn add(
    conn: &mut PgConnection,
    uses: &BTreeMap<UsageKey, Used>,
) -> Result<(), sqlx::Error> {
    if uses.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(uses.keys());
    let minor: Vec<String> = uses.values().map(|used| used.minor.to_string()).collect();
    let movements: Vec<i64> = uses.values().map(|used| used.movements).collect();
    let added = sqlx::query!(
        "UPDATE limit_usage
         SET used_minor = limit_usage.used_minor + new.minor::numeric,
             movements = limit_usage.movements + new.movements
         FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::date[], $6::text[],
                 $7::bigint[])
             AS new (user_id, movement, currency_code, period, starts_on, minor, movements)
         WHERE limit_usage.user_id = new.user_id
           AND limit_usage.movement = new.movement
           AND limit_usage.currency_code = new.currency_code
           AND limit_usage.period = new.period
           AND limit_usage.starts_on = new.starts_on",
        &columns.users,
        &columns.movements as &[&str],
        &columns.currencies as &[&str],
        &columns.periods as &[&str],
        &columns.starts,
        &minor,
        &movements,
    )
    .execute(conn)
    .await?;
    match usize::try_from(added.rows_affected()) {
        Ok(rows) if rows == uses.len() => Ok(()),
        _ => Err(sqlx::Error::RowNotFound),
    }
}

/// What is used under keys, one answer for each in their order, for display: nothing
/// is locked, and what has no row is summed up.
#[tracing::instrument(name = "store.limits.used", skip_all)]
pub(crate) async fn used(
    conn: &mut PgConnection,
    keys: &[UsageKey],
) -> Result<Vec<Used>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::of(keys);
    let rows = sqlx::query!(
        r#"SELECT coalesce(limit_usage.used_minor, moved.minor, 0)::text AS "minor!",
               coalesce(limit_usage.movements, moved.movements, 0) AS "movements!"
           FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::date[],
                   $6::timestamptz[], $7::timestamptz[], $8::uuid[])
               WITH ORDINALITY AS asked (user_id, movement, currency_code, period, starts_on,
                   from_at, to_at, first_id, place)
           LEFT JOIN limit_usage USING (user_id, movement, currency_code, period, starts_on)
           LEFT JOIN LATERAL (
               SELECT sum(amount_minor) AS minor, count(*) AS movements
               FROM transactions
               WHERE limit_usage.used_minor IS NULL
                 AND initiator_user_id = asked.user_id
                 AND transaction_id >= asked.first_id
                 AND kind = asked.movement
                 AND transactions.currency_code = asked.currency_code
                 AND created_at >= asked.from_at
                 AND created_at < asked.to_at
                 AND state <> 'FAILED'
           ) AS moved ON true
           ORDER BY place"#,
        &columns.users,
        &columns.movements as &[&str],
        &columns.currencies as &[&str],
        &columns.periods as &[&str],
        &columns.starts,
        &columns.from,
        &columns.to,
        &columns.first,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Used {
                minor: row.minor.parse().map_err(|_| unreadable("used_minor"))?,
                movements: row.movements,
            })
        })
        .collect()
}

/// Deletes rows of periods that started before a day, at most so many; returns how
/// many those were.
#[tracing::instrument(name = "store.limits.delete_old", skip_all)]
pub(crate) async fn delete_old(
    conn: &mut PgConnection,
    before: Date,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "WITH old AS (
             SELECT user_id, movement, currency_code, period, starts_on
             FROM limit_usage
             WHERE starts_on < $1
             ORDER BY user_id, movement, currency_code, period, starts_on
             LIMIT $2
             FOR UPDATE SKIP LOCKED
         )
         DELETE FROM limit_usage
         USING old
         WHERE limit_usage.user_id = old.user_id
           AND limit_usage.movement = old.movement
           AND limit_usage.currency_code = old.currency_code
           AND limit_usage.period = old.period
           AND limit_usage.starts_on = old.starts_on",
        before,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}
