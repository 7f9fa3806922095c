//! The transaction service under kills: its process is killed at every step of
//! every flow, before and after each commit and each call to the ledger and the
//! provider.
//!
//! The ledger is the real wallet, the provider the real sandbox, and events go to
//! a real Redis. Callers ask with keys that they remember. After each kill what was
//! answered must be in the database; after the restart everything must come to an
//! end by itself or by the same key; and then the books of the service, the ledger
//! and the provider must say the same, with every invariant in order.
//!
//! [`chaos`] is the longer variant, which also freezes the process and kills its
//! database.

mod books;
mod cards;
mod cases;
mod chaos;
mod edge_cases;
mod flow;
mod house;
mod killed;
mod passages;
mod payouts;
mod publishing;
mod screening;
mod settlement;
mod standing;
mod street;
mod tasks;
mod traffic;
