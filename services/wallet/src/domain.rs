//! The rules of wallets and of the ledger, without any input or output.
//!
//! Everything here takes values and the time and returns decisions. The shell
//! around it loads a [`book::Book`] under row locks, asks [`batch::decide_call`]
//! what becomes of each posting, and writes what was decided in one statement.
//! Because nothing here reads a clock, a socket or a table, the rules can be
//! tested with as many random histories as one likes.

pub mod batch;
pub mod bonus;
pub mod book;
pub mod campaign;
pub mod csv;
pub mod decide;
pub mod drift;
pub mod entry_walk;
pub mod fold;
pub mod history;
pub mod hold;
pub mod hold_order;
pub mod life;
pub mod limit;
pub mod posting;
pub mod provider_account;
pub mod trial_balance;
pub mod wallet;

#[cfg(test)]
mod properties;
