//! The RPCs of identity, one file each. A handler reads the call's context,
//! does its work in one transaction that it opens and commits itself, and
//! returns; who may call at all, the bounds of fields, and deadlines were settled
//! by the layers around it.

mod get_me;
mod idempotent;
mod issue_service_token;
mod list_sessions;
mod login;
mod logout;
mod refresh;
mod register;
mod revoke_session;
mod session;

use std::sync::Arc;

use bursar_contracts::identity::v1::identity_service_server::IdentityService;
use bursar_contracts::identity::v1::{
    GetMeRequest, GetMeResponse, IssueServiceTokenRequest, IssueServiceTokenResponse,
    ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse, LogoutRequest,
    LogoutResponse, RefreshRequest, RefreshResponse, RegisterRequest, RegisterResponse,
    RevokeSessionRequest, RevokeSessionResponse, User,
};
use bursar_contracts::instant::timestamp;
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use crate::domain::role::Granted;
use crate::error::Error;
use crate::hasher::Hasher;
use crate::store::users::UserRow;
use crate::token::Issuer;
use bursar_aip::id::UserId;

/// How often a transaction is tried that the database gave up as a deadlock or
/// a serialization failure.
const MAX_ATTEMPTS: usize = 4;

/// What the RPCs work with.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    pub(crate) hasher: Hasher,
    pub(crate) issuer: Issuer,
}

/// The identity service.
#[derive(Clone)]
pub(crate) struct Identity(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl IdentityService for Identity {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        register::handle(&self.0, request).await
    }

    async fn login(
        &self,
        request: Request<LoginRequest>,
    ) -> Result<Response<LoginResponse>, Status> {
        login::handle(&self.0, request).await
    }

    async fn refresh(
        &self,
        request: Request<RefreshRequest>,
    ) -> Result<Response<RefreshResponse>, Status> {
        refresh::handle(&self.0, request).await
    }

    async fn logout(
        &self,
        request: Request<LogoutRequest>,
    ) -> Result<Response<LogoutResponse>, Status> {
        logout::handle(&self.0, request).await
    }

    async fn get_me(
        &self,
        request: Request<GetMeRequest>,
    ) -> Result<Response<GetMeResponse>, Status> {
        get_me::handle(&self.0, request).await
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        list_sessions::handle(&self.0, request).await
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        revoke_session::handle(&self.0, request).await
    }

    async fn issue_service_token(
        &self,
        request: Request<IssueServiceTokenRequest>,
    ) -> Result<Response<IssueServiceTokenResponse>, Status> {
        issue_service_token::handle(&self.0, request).await
    }
}

/// Runs a transaction, and runs it again as a whole, a bounded number of times,
/// when the database gave it up as a deadlock or a serialization failure.
async fn retried<T, F>(transaction: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut attempt = 1;
    loop {
        match transaction().await {
            Err(error) if error.is_retryable() && attempt < MAX_ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

/// A user as the contract has it.
fn user_message(row: UserRow, granted: Granted) -> User {
    User {
        user_id: UserId::from_uuid(row.id).to_string(),
        email: row.email,
        display_name: row.display_name,
        roles: granted.roles,
        created_at: Some(timestamp(row.created_at)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bursar_testkit::TestDatabase;

    use super::*;

    /// Deadlocks and serialization failures are tried again, a bounded number of
    /// times; anything else is not.
    #[tokio::test]
    async fn transactions_are_tried_again() {
        let database = TestDatabase::create(&[]).await;
        let run = async |statement: &'static str, failures: usize| {
            let attempts = Cell::new(0);
            let outcome = retried(async || {
                attempts.set(attempts.get() + 1);
                if attempts.get() <= failures {
                    sqlx::query(statement).execute(&database.pool).await?;
                }
                Ok(())
            });
            (outcome.await.is_ok(), attempts.get())
        };
        let serialization = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$";
        let deadlock = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$";
        let division = "SELECT 1 / 0";
        assert_eq!(run(serialization, 2).await, (true, 3));
        assert_eq!(run(deadlock, 1).await, (true, 2));
        assert_eq!(run(deadlock, 99).await, (false, MAX_ATTEMPTS));
        assert_eq!(run(division, 1).await, (false, 1));
    }
}
