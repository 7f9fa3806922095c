//! The service's SQL.
//!
//! Every function takes the connection on which its caller decided to work and
//! returns `sqlx::Error`; transactions are opened and committed by the callers.
//! Isolation is READ COMMITTED throughout: what must not change between reading
//! and writing is locked, and what must happen once has a unique constraint.

pub mod bonus_grants;
pub mod bonus_spending;
pub mod campaigns;
pub mod drift;
pub mod entries;
pub mod history;
pub mod holds;
pub mod ledger;
pub mod life;
mod names;
pub mod projections;
pub mod proof;
pub mod provider_accounts;
pub mod rebuilds;
pub mod samples;
pub mod statements;
pub mod trial_balance;
pub mod wallet_days;
pub mod wallets;
pub mod write;
