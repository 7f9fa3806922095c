//! What the tests share: the edge under test, the services behind it, tokens,
//! and callers.

mod edge;
mod grpc;
mod grpc_web;
mod mint;
mod rest;
mod upstream;

pub(crate) use edge::{Edge, envoy_binary, until};
pub(crate) use grpc::{bearer, reason};
pub(crate) use grpc_web::call_grpc_web;
pub(crate) use mint::{Mint, now};
pub(crate) use rest::{Answer, Call, chunked};
pub(crate) use upstream::{FILE_PARTS, FILE_TYPE, KNOWN_WALLET, PART_BYTES, Upstream, part};
