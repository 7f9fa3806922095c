//! The contract of Bursar as Rust: every message, client and server that
//! `proto/` declares, the validation of requests, and the policy of each RPC.
//!
//! Nothing here is written by hand that the protos say: routes, permissions,
//! bounds, deadlines and reasons come from the one descriptor set.

pub mod codec;
pub mod instant;
pub mod policy;

mod generated {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::allow_attributes,
        unreachable_pub,
        reason = "generated from the protos, whose comments it carries"
    )]
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

use generated::bursar;
pub use generated::bursar::{admin, identity, operations, options, transaction, r#type, wallet};
pub use generated::google;
