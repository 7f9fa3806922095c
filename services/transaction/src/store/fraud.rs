//! Fraud screening in PostgreSQL.
//!
//! Lock order inside a database transaction: the key, then the users' advisory locks
//! in the order of their numbers, then what records the intent; the worker and the
//! operators' calls take rows of these tables only, and a decision its case before the
//! transaction's check. `fraud_rule_sets` is locked by whoever changes rules, before
//! anything else. READ COMMITTED is assumed.

pub(crate) mod cases;
pub(crate) mod history;
pub(crate) mod hits;
pub(crate) mod past;
pub(crate) mod profiles;
pub(crate) mod rules;

#[cfg(test)]
mod tests;
