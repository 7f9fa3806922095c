//! The SQL of identity. Functions take the connection of the caller's
//! transaction and decide nothing.
//!
//! Locks, in the order in which they are taken: advisory ([`lock_start`], at
//! start and for key rotation only), `idempotency_keys`, `users`, `sessions`,
//! `refresh_tokens`. A session's row stands for its whole family of refresh
//! tokens: whoever changes the family locks the session first. READ COMMITTED
//! is assumed throughout.

pub(crate) mod credentials;
pub(crate) mod refresh_tokens;
pub(crate) mod roles;
pub(crate) mod service_accounts;
pub(crate) mod sessions;
pub(crate) mod signing_keys;
pub(crate) mod users;

use sqlx::{PgConnection, query};

/// The advisory lock that several starting processes take turns by: an
/// arbitrary number that nothing else in this database uses.
const START_LOCK: i64 = 0x1DE7_0001;

/// Waits until no other process is making what every process needs once: the
/// first key, the first administrator, the service accounts. Held to the end of
/// the transaction.
pub(crate) async fn lock_start(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    query!("SELECT pg_advisory_xact_lock($1)", START_LOCK)
        .execute(conn)
        .await?;
    Ok(())
}
