//! The permission layer: holds a caller against the policy of an RPC.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bursar_contracts::policy::{self, Access, MethodPolicy};
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::time::Duration;
use tonic::{Code, Status};

use crate::caller::{Caller, Reach, Subject};
use crate::permission::{Permission, Target};
use crate::verifier::{Verifier, VerifyError};

/// The metadata by which a service passes its user's token on.
pub const USER_TOKEN_HEADER: &str = "x-bursar-user-token";

/// The permissions that RPCs require, parsed once.
static REQUIRED: LazyLock<HashMap<&'static str, Permission>> = LazyLock::new(|| {
    policy::all()
        .filter_map(|(path, policy)| match &policy.access {
            Some(Access::Permission(text)) => Some((
                path,
                text.parse()
                    .expect("the build checked the form of every permission"),
            )),
            Some(Access::Public(_) | Access::Internal(_)) | None => None,
        })
        .collect()
});

/// A caller who may make the call.
#[derive(Debug, Clone)]
pub struct Authorized {
    /// The caller.
    pub caller: Arc<Caller>,
    /// How far the caller reaches; `None` for public RPCs.
    pub reach: Option<Reach>,
}

/// Decides who may make which call.
#[derive(Clone)]
pub struct Authorizer {
    verifier: Verifier,
}

impl Authorizer {
    /// An authorizer that trusts what `verifier` verifies.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier }
    }

    /// Decides a call by its path, policy and headers. `now` is in seconds of
    /// the Unix epoch. Errors: UNAUTHENTICATED without a valid token,
    /// PERMISSION_DENIED without the permission, UNAVAILABLE while no keys can be had.
    pub async fn authorize(
        &self,
        path: &str,
        policy: &MethodPolicy,
        headers: &HeaderMap,
        now: i64,
    ) -> Result<Authorized, Status> {
        match &policy.access {
            Some(Access::Public(_)) => Ok(Authorized {
                caller: Arc::new(Caller::anonymous()),
                reach: None,
            }),
            Some(Access::Internal(_)) => self.authorize_service(headers, now).await,
            Some(Access::Permission(_)) => {
                let caller = self.caller(bearer(headers)?, now).await?;
                let required = REQUIRED
                    .get(path)
                    .expect("every permitted RPC of the contract is in the table");
                let reach = reach(&caller, required).ok_or_else(|| denied(required))?;
                Ok(Authorized {
                    caller,
                    reach: Some(reach),
                })
            }
            None => Err(unauthenticated("the RPC has no policy")),
        }
    }

    /// Internal RPCs take service tokens only; the user's token may come along.
    async fn authorize_service(&self, headers: &HeaderMap, now: i64) -> Result<Authorized, Status> {
        let mut caller = self.caller(bearer(headers)?, now).await?;
        if !matches!(caller.subject, Subject::Service(_)) {
            return Err(StatusBuilder::new(
                Code::PermissionDenied,
                ErrorReason::PermissionDenied,
                "the call is for the platform's own services",
            )
            .into());
        }
        if let Some(value) = headers.get(USER_TOKEN_HEADER) {
            let token = value
                .to_str()
                .map_err(|_| unauthenticated("the user's token is not text"))?;
            let user = self.caller(token, now).await?;
            let mut with_user = Caller::clone(&caller);
            with_user.on_behalf_of = user.user_id();
            caller = Arc::new(with_user);
        }
        Ok(Authorized {
            caller,
            reach: Some(Reach::Any),
        })
    }

    async fn caller(&self, token: &str, now: i64) -> Result<Arc<Caller>, Status> {
        self.verifier
            .verify(token, now)
            .await
            .map_err(|error| match error {
                VerifyError::Invalid => unauthenticated("the access token is not valid"),
                VerifyError::KeysUnavailable(cause) => {
                    tracing::warn!(cause, "tokens cannot be verified");
                    StatusBuilder::new(
                        Code::Unavailable,
                        ErrorReason::Unavailable,
                        "access tokens cannot be verified now",
                    )
                    .retry_after(Duration::from_secs(1))
                    .into()
                }
            })
    }
}

/// How far `caller` reaches for `required`; `None` when not at all.
fn reach(caller: &Caller, required: &Permission) -> Option<Reach> {
    match caller.grants.reach(required)? {
        Target::Any => Some(Reach::Any),
        Target::Own => caller.user_id().map(Reach::Own),
    }
}

/// The bearer token of a call.
fn bearer(headers: &HeaderMap) -> Result<&str, Status> {
    let value = headers
        .get(AUTHORIZATION)
        .ok_or_else(|| unauthenticated("the call needs an access token"))?;
    let text = value
        .to_str()
        .map_err(|_| unauthenticated("the authorization header is not text"))?;
    let (scheme, token) = text
        .split_once(' ')
        .ok_or_else(|| unauthenticated("the authorization header is not `Bearer TOKEN`"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthenticated(
            "the authorization header is not `Bearer TOKEN`",
        ));
    }
    Ok(token.trim())
}

fn unauthenticated(message: &str) -> Status {
    StatusBuilder::new(Code::Unauthenticated, ErrorReason::Unauthenticated, message).into()
}

fn denied(required: &Permission) -> Status {
    StatusBuilder::new(
        Code::PermissionDenied,
        ErrorReason::PermissionDenied,
        "the caller lacks a permission",
    )
    .metadata("permission", required.to_string())
    .into()
}
