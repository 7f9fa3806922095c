//! The transaction service in a mesh of real services, each test with its own.

mod bulk;
mod callbacks;
mod deposits;
mod explain;
mod invariants;
mod lost_answers;
mod reads;
mod reconciliation;
mod reconciliation_import;
mod reconciliation_sandbox;
mod reconciliation_settings;
mod refunds;
mod routing;
mod support;
mod transfers;
mod watch;
mod withdrawals;
