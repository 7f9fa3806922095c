//! The transactions in PostgreSQL.
//!
//! Lock order inside a database transaction: `transaction_checks`, then
//! `transactions`, then `events`, then `idempotency_keys`; the transaction that
//! claims a key first inserts new rows only, so it waits for nobody behind the
//! key. READ COMMITTED is assumed.

pub(crate) mod callbacks;
pub(crate) mod checks;
pub(crate) mod events;
pub(crate) mod lists;
pub(crate) mod transactions;

/// A row or an event that the code cannot read: it and the data disagree.
fn unreadable(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} holds a value that no code wrote").into())
}

#[cfg(test)]
mod tests;
