//! What the service does besides answering calls.

pub mod bonus;
pub mod cleanup;
pub mod first_wallet;
pub mod hold_expiry;
pub mod queue;
pub mod writer;
