//! What admin does in the background.

pub(crate) mod audit;
pub(crate) mod cleanup;
