//! What the layers settled about a call before its handler runs.

use std::sync::Arc;
use std::time::Instant;

use bursar_aip::id::UserId;
use bursar_aip::idempotency::Key;
use bursar_auth::{Caller, Reach};
use bursar_contracts::policy::{self, Access};
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use tonic::{Code, Request, Status};

/// A call's caller, reach, idempotency key and deadline.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who calls.
    pub caller: Arc<Caller>,
    /// The key the caller sent. Always there for RPCs that require one; never
    /// for RPCs that take none.
    pub idempotency_key: Option<Key>,
    /// The RPC's path, such as `/bursar.wallet.v1.WalletService/GetWallet`.
    pub method: &'static str,
    /// When the answer must be there.
    pub deadline: Instant,
    pub(crate) reach: Option<Reach>,
}

impl Context {
    /// The context of a request that came through the layers.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| unauthenticated("the call did not come through the permission layer"))
    }

    /// How far the caller's permission reaches. Fails for public RPCs, whose
    /// callers reach nothing.
    pub fn reach(&self) -> Result<Reach, Status> {
        self.reach
            .ok_or_else(|| unauthenticated("the call needs an access token"))
    }

    /// The permission that the RPC requires. Fails for RPCs that require none.
    pub fn permission(&self) -> Result<&'static str, Status> {
        match policy::of(self.method).and_then(|policy| policy.access.as_ref()) {
            Some(Access::Permission(permission)) => Ok(permission),
            Some(Access::Public(_) | Access::Internal(_)) | None => {
                Err(unauthenticated("the RPC requires no permission"))
            }
        }
    }

    /// The user who calls. Fails for services and nobody.
    pub fn user_id(&self) -> Result<UserId, Status> {
        self.caller
            .user_id()
            .ok_or_else(|| unauthenticated("the call needs a user's access token"))
    }
}

fn unauthenticated(message: &str) -> Status {
    StatusBuilder::new(Code::Unauthenticated, ErrorReason::Unauthenticated, message).into()
}
