//! The rules of identity, without I/O: values and the time go in, decisions
//! come out. Nothing here knows SQL, protobuf, a clock or a source of
//! randomness; the shell passes the time and fresh ids in.

pub mod bootstrap;
pub mod password;
pub mod refresh;
pub mod role;
pub mod service_account;
pub mod session;
pub mod signing_key;
pub mod user;
