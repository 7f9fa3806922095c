//! The ledger's proof as its users see it.

mod encoding;
mod export;
mod forgery;
mod history;
mod inclusion;
mod program;
mod vectors;
