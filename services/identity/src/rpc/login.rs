//! `Login`: checks a password and starts a session.
//!
//! An unknown address and a wrong password take the same time and get the same
//! answer, so that nobody learns who has an account.

use std::sync::Arc;

use bursar_aip::id::{SessionId, TenantId, UserId};
use bursar_contracts::identity::v1::{LoginRequest, LoginResponse};
use bursar_server::{Context, database, detached, now};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::password::PasswordError;
use crate::domain::session::{self, REFRESH_TOKEN_LIFETIME};
use crate::domain::user::EmailAddress;
use crate::error::Error;
use crate::event::{self, Circumstances};
use crate::rpc::{Shared, retried};
use crate::store::credentials::{self, LoginRow};
use crate::store::{refresh_tokens, roles, sessions};
use crate::token::{RefreshToken, UserSubject};

pub(crate) async fn handle(
    shared: &Arc<Shared>,
    request: Request<LoginRequest>,
) -> Result<Response<LoginResponse>, Status> {
    let context = Context::of(&request)?;
    let user_agent = user_agent(&request);
    let message = request.into_inner();
    let tenant = context.caller.tenant.clone();
    let login = authenticate(shared, &tenant, message).await?;

    let shared = Arc::clone(shared);
    detached(async move {
        let start = || start_session(&shared, &tenant, &login, &user_agent);
        retried(start)
            .await
            .map(Response::new)
            .map_err(Status::from)
    })
    .await
}

/// What the client calls itself; empty when it does not say.
fn user_agent<T>(request: &Request<T>) -> String {
    let value = request.metadata().get("user-agent");
    let text = value.and_then(|value| value.to_str().ok());
    session::user_agent(text.unwrap_or_default())
}

/// The user whose address and password these are.
async fn authenticate(
    shared: &Shared,
    tenant: &TenantId,
    message: LoginRequest,
) -> Result<LoginRow, Error> {
    let password = SecretString::from(message.password);
    // An address that cannot be registered is as unknown as any other.
    let found = match EmailAddress::parse(&message.email) {
        Ok(email) => {
            let mut connection = shared.pool.acquire().await?;
            credentials::find_for_login(&mut connection, tenant, &email).await?
        }
        Err(_) => None,
    };
    let stored = found.as_ref().map(|row| row.password_hash.clone());
    let right = shared.hasher.verify(password, stored).await?;
    found
        .filter(|_| right)
        .ok_or_else(|| PasswordError::Wrong.into())
}

async fn start_session(
    shared: &Shared,
    tenant: &TenantId,
    login: &LoginRow,
    user_agent: &str,
) -> Result<LoginResponse, Error> {
    let now = now();
    let mut transaction = database::begin(&shared.pool).await?;
    // The password was checked outside this transaction. Had it been changed
    // since, the change would have ended every session except this one.
    if !credentials::hold(
        &mut transaction,
        login.user,
        login.password_hash.expose_secret(),
    )
    .await?
    {
        return Err(PasswordError::Wrong.into());
    }
    let session = SessionId::generate();
    let refresh_token = RefreshToken::generate();
    let expires_at = now + REFRESH_TOKEN_LIFETIME;
    let new_session = sessions::NewSession {
        id: session,
        tenant,
        user: login.user,
        user_agent,
        created_at: now,
        expires_at,
    };
    sessions::insert(&mut transaction, &new_session).await?;
    let new_token = refresh_tokens::NewRefreshToken {
        id: Uuid::now_v7(),
        tenant: tenant.as_str(),
        session,
        hash: &refresh_token.hash(),
        parent: None,
        created_at: now,
        expires_at,
    };
    refresh_tokens::insert(&mut transaction, &new_token).await?;
    let started = started(login.user, session, tenant, now);
    bursar_events::append(&mut transaction, &[started]).await?;
    let subject = UserSubject {
        tenant,
        user: login.user,
        session,
        granted: roles::granted_to(&mut transaction, login.user).await?,
    };
    let access_token = shared.issuer.user(subject, now)?;
    transaction.commit().await?;
    Ok(LoginResponse {
        access_token: access_token.text.expose_secret().to_owned(),
        refresh_token: refresh_token.expose().to_owned(),
        expires_in_seconds: access_token.expires_in_seconds,
        session_id: session.to_string(),
    })
}

fn started(
    user: UserId,
    session: SessionId,
    tenant: &TenantId,
    now: time::OffsetDateTime,
) -> bursar_events::Event {
    let circumstances = Circumstances {
        tenant,
        actor: &user.to_string(),
        at: now,
    };
    event::session_started(user, session, circumstances)
}
