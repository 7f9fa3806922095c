//! The gateway at work: a real Envoy with the generated configuration, before
//! services that this test plays. Each test has its own of everything.

#![expect(
    clippy::unwrap_used,
    reason = "a test may state its expectations bluntly"
)]

mod answers;
mod body;
mod configuration;
mod cors;
mod files;
mod grpc;
mod headers;
mod limits;
mod outage;
mod routing;
mod support;
mod tokens;
