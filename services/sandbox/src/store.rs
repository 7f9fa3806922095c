//! The provider's books in PostgreSQL.

pub(crate) mod accounts;
pub(crate) mod authorizations;
pub(crate) mod callbacks;
pub(crate) mod cards;
pub(crate) mod clock;
pub(crate) mod discrepancies;
pub(crate) mod faults;
pub(crate) mod movements;
pub(crate) mod settlements;
pub(crate) mod sources;

/// A row that the code cannot read: the code and the migrations disagree.
pub(crate) fn unreadable(column: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("the column {column} holds a value that no code wrote").into())
}
