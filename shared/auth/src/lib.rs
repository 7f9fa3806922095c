//! Who calls, and what they may do.
//!
//! The gateway verifies tokens, and every service verifies them again: a
//! service trusts no header that names a user, only a signature. [`Verifier`]
//! turns a token into a [`Caller`]; [`Authorizer`] holds the caller against the
//! policy of the RPC and says how far the caller reaches: over its own
//! resources, or over all.

mod authorizer;
mod caller;
mod claims;
pub mod permission;
mod verifier;

pub use authorizer::{Authorized, Authorizer, USER_TOKEN_HEADER};
pub use caller::{Caller, Reach, Subject};
pub use claims::{Claims, TOKEN_TYPE, TokenKind};
pub use verifier::{DEFAULT_AUDIENCE, DEFAULT_ISSUER, KeySource, Verifier, VerifyError};
