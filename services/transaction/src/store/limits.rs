//! How much of their limits users have used.
//!
//! [`reserve`] runs in the database transaction that records intents, [`release`] in
//! the one that records that some of them failed. The rows of `limit_usage` are
//! locked in the order of their keys, before anything is decided, and come last in
//! the lock order of the store: who holds one waits for nothing but more of them, and
//! no database transaction calls these functions twice.
//!
//! - **What is counted.** Once there was a rule for a currency and a kind of
//!   movement, every movement of them is counted, whoever makes it and whether or
//!   not a rule holds for them. So a row of `limit_usage` is always the sum of the
//!   period's movements that have not failed, and any rule may be put at any time.
//! - **A row that is not there** is made from the movements themselves. They are
//!   locked meanwhile, so that one which fails at that moment is left out or gives
//!   back, not both and not neither. No row of `limit_usage` is locked before, for
//!   who is failing a movement may be waiting for one.
//! - **A rule that is put** counts at once: changing rules locks their table against
//!   readers, who hold it until they commit. So no movement is under way that was
//!   decided by the rules before, or recorded without being counted.
//! - **How often** is not counted in rows but in the movements themselves, by the
//!   index of who made them, at most as many as the limit. It is exact, because it is
//!   done while the user's row is locked, by a statement of its own that sees
//!   everything committed before.
//!
//! READ COMMITTED is assumed. Whatever cannot be read is an error and never room.

mod keys;
mod lock;
mod recent;
pub(crate) mod rules;
mod usage;

use std::collections::HashMap;

use bursar_aip::id::TransactionId;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::limit::{
    Demand, Exceeded, LimitRule, Recent, UsageKey, Used, Weighed, weigh, window,
};
pub(crate) use recent::recent;
pub(crate) use usage::{delete_old, used};

/// How often a row may be missing before something is wrong.
const MAX_LOOKS: usize = 3;

/// Reserves what fits of some demands, and says which do not fit. Earlier demands
/// count for later ones.
#[tracing::instrument(name = "store.limits.reserve", skip_all)]
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    demands: &[Demand],
) -> Result<Vec<Result<(), Exceeded>>, sqlx::Error> {
    let weighed = weighed(conn, demands).await?;
    usage::add(conn, &weighed.uses).await?;
    Ok(weighed.results)
}

/// Reserves all of some demands, or nothing: then the index of the first that does
/// not fit is returned, and why.
#[tracing::instrument(name = "store.limits.reserve_together", skip_all)]
pub(crate) async fn reserve_together(
    conn: &mut PgConnection,
    demands: &[Demand],
) -> Result<Result<(), (usize, Exceeded)>, sqlx::Error> {
    let weighed = weighed(conn, demands).await?;
    let mut results = weighed.results.into_iter().enumerate();
    if let Some(refused) = results.find_map(|(index, result)| Some((index, result.err()?))) {
        return Ok(Err(refused));
    }
    usage::add(conn, &weighed.uses).await?;
    Ok(Ok(()))
}

/// Gives back what failed transactions had reserved. To be called once for each, in
/// the database transaction that made its row FAILED.
#[tracing::instrument(name = "store.limits.release", skip_all)]
pub(crate) async fn release(
    conn: &mut PgConnection,
    failed: &[TransactionId],
) -> Result<(), sqlx::Error> {
    if failed.is_empty() {
        return Ok(());
    }
    let failed: Vec<Uuid> = failed.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        "WITH freed AS (
             SELECT initiator_user_id AS user_id, kind AS movement, currency_code, period,
                 starts_on, sum(amount_minor) AS minor, count(*) AS movements
             FROM transactions
             CROSS JOIN LATERAL (VALUES
                 ('day', date_trunc('day', created_at, 'UTC')),
                 ('month', date_trunc('month', created_at, 'UTC'))
             ) AS span (period, starts_at)
             CROSS JOIN LATERAL (
                 SELECT (starts_at AT TIME ZONE 'UTC')::date AS starts_on
             ) AS start
             WHERE transaction_id = ANY ($1) AND state = 'FAILED'
             GROUP BY initiator_user_id, kind, currency_code, period, starts_on
         ),
         locked AS (
             SELECT user_id, movement, currency_code, period, starts_on, freed.minor,
                 freed.movements
             FROM limit_usage
             JOIN freed USING (user_id, movement, currency_code, period, starts_on)
             ORDER BY user_id, movement, currency_code, period, starts_on
             FOR NO KEY UPDATE OF limit_usage
         )
         UPDATE limit_usage
         SET used_minor = limit_usage.used_minor - locked.minor,
             movements = limit_usage.movements - locked.movements
         FROM locked
         WHERE limit_usage.user_id = locked.user_id
           AND limit_usage.movement = locked.movement
           AND limit_usage.currency_code = locked.currency_code
           AND limit_usage.period = locked.period
           AND limit_usage.starts_on = locked.starts_on",
        &failed,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Decides about demands, with everything locked that is to be written.
async fn weighed(conn: &mut PgConnection, demands: &[Demand]) -> Result<Weighed, sqlx::Error> {
    let (rules, used) = look(conn, demands).await?;
    let windows: Vec<_> = demands
        .iter()
        .map(|demand| window(demand, &rules))
        .collect();
    let recent = recent_of(conn, demands, &windows).await?;
    Ok(weigh(demands, &rules, &used, &recent))
}

/// The rules that may hold for demands, and what is used under each key that is
/// counted, locked.
async fn look(
    conn: &mut PgConnection,
    demands: &[Demand],
) -> Result<(Vec<LimitRule>, HashMap<UsageKey, Used>), sqlx::Error> {
    for _ in 0..MAX_LOOKS {
        let seen = lock::lock(conn, demands).await?;
        if seen.missing.is_empty() {
            return Ok((seen.rules, seen.used));
        }
        usage::make(conn, &seen.missing).await?;
    }
    // Only rows of long ago are ever deleted.
    Err(sqlx::Error::RowNotFound)
}

async fn recent_of(
    conn: &mut PgConnection,
    demands: &[Demand],
    windows: &[Option<crate::domain::limit::Window>],
) -> Result<Vec<Option<Recent>>, sqlx::Error> {
    let mut places = Vec::new();
    let mut asked = Vec::new();
    for (index, (demand, window)) in demands.iter().zip(windows).enumerate() {
        if let Some(window) = window {
            places.push(index);
            asked.push((demand.subject(), *window));
        }
    }
    let mut found = vec![None; demands.len()];
    for (index, recent) in places.into_iter().zip(recent(conn, &asked).await?) {
        found[index] = Some(recent);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
