//! The transaction service in a mesh of real services, each test with its own.

mod callbacks;
mod deposits;
mod invariants;
mod lost_answers;
mod reads;
mod support;
mod transfers;
mod withdrawals;
