//! The two servers under the services: PostgreSQL and Valkey.
//!
//! Each module knows how to prepare its server's files, how to start it and how
//! to tell that it answers; neither starts anything by itself.

pub mod databases;
pub mod postgres;
pub mod valkey;
