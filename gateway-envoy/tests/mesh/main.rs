//! The whole mesh, seen from outside: every test goes through the real Envoy to
//! the real services with their own databases.
//!
//! `make test` starts the mesh these tests share. Tests that kill processes or
//! need rate limits start one of their own.

mod access;
mod back_office;
mod bonus;
mod books;
mod crashes;
mod edge;
mod grpc;
mod grpc_web;
mod history;
mod holds;
mod idempotency;
mod input;
mod limits;
mod money_movement;
mod money_rules;
mod payout_accounts;
mod proof;
mod provider;
mod provider_accounts;
mod rest;
mod support;
mod transfers;
mod wallet_life;
