//! The identity service as its callers see it: every RPC through the generated
//! client, on a real PostgreSQL.

mod harness;
mod keys;
mod login;
mod logs;
mod refresh;
mod register;
mod service_accounts;
mod sessions;
mod start;
mod tables;
