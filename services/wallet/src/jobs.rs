//! What the service does besides answering calls.

pub mod cleanup;
pub mod first_wallet;
pub mod queue;
pub mod writer;
