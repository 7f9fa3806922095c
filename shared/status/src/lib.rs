//! The one builder of errors that leave a service.
//!
//! Every error a caller sees is a `google.rpc.Status` whose `ErrorInfo` names a
//! reason from the contract, with the detail that fits: `BadRequest` with field
//! paths, `PreconditionFailure`, `RetryInfo`. Internal errors are logged here,
//! once, with their whole chain; the caller gets a correlation id and nothing
//! of the inside.
//!
//! The crate knows no service and no reason of its own: the enums of reasons
//! come from the contract and implement [`Reason`].

mod builder;
pub mod correlation;

pub use builder::{Reason, StatusBuilder, internal};
pub use tonic_types::StatusExt;
