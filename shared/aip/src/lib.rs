//! What every API of the house does the same way: typed ids, pages of lists,
//! and idempotency keys.
//!
//! - [`id`] is pure: the ids of resources and tenants.
//! - [`page`] is pure: page sizes and opaque page tokens.
//! - [`idempotency`] claims a caller's key in the transaction of the effect and
//!   replays the first answer. It owns the table of [`MIGRATOR`].

pub mod id;
pub mod idempotency;
pub mod page;

/// The migrations of this crate, with a table of applied versions of their own.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
