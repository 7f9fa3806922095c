//! The transactions in PostgreSQL.
//!
//! Lock order inside a database transaction: `transaction_checks`, then `transactions`,
//! then `idempotency_keys`; the transaction that claims a key first inserts new rows
//! only, so it waits for nobody behind the key. One that records a refund locks the
//! original's row before the key; a refund's own row comes before its original's, and no
//! original is a refund, so nobody waits in a circle. A quote is locked behind the key of
//! the transaction that uses it, and what comes after is new rows only, but for those of
//! `limit_usage`: these come last of all (see [`limits`]). READ COMMITTED is assumed.

pub(crate) mod bulk;
pub(crate) mod bulk_checks;
pub(crate) mod bulk_rows;
pub(crate) mod callbacks;
pub(crate) mod checks;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod fees;
pub(crate) mod fraud;
pub(crate) mod id_time;
pub(crate) mod limits;
pub(crate) mod lists;
pub(crate) mod payment_methods;
pub(crate) mod payout_accounts;
mod prices;
pub(crate) mod quotes;
pub(crate) mod rates;
pub(crate) mod reconciliation;
pub(crate) mod schedules;
pub(crate) mod transactions;
pub(crate) mod watch_owners;

use std::time::Duration;

use sqlx::postgres::types::PgInterval;

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}

/// A row or an event that the code cannot read: it and the data disagree.
fn unreadable(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} holds a value that no code wrote").into())
}

#[cfg(test)]
mod tests;
