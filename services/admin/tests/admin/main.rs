//! The admin service as its callers and its database see it.

mod audit_chain;
mod audit_feed;
mod audit_list;
mod faults;
mod house;
mod idempotency;
mod mesh_status;
mod tickets;
