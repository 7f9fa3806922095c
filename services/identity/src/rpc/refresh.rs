//! `Refresh`: exchanges a refresh token for its successors.

use std::sync::Arc;

use bursar_aip::id::{SessionId, TenantId, UserId};
use bursar_contracts::identity::v1::{RefreshRequest, RefreshResponse};
use bursar_server::{canary, database, detached, now};
use secrecy::ExposeSecret;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::refresh::{Decision, Presented, RefreshError, decide};
use crate::domain::session::{EndReason, REFRESH_TOKEN_LIFETIME, alive};
use crate::error::Error;
use crate::event::{self, Circumstances};
use crate::rpc::{Shared, retried};
use crate::store::{refresh_tokens, roles, sessions};
use crate::token::{RefreshToken, UserSubject};

/// A presented token's family, locked.
struct Family {
    token: Uuid,
    session: SessionId,
    user: UserId,
    tenant: TenantId,
}

pub(crate) async fn handle(
    shared: &Arc<Shared>,
    request: Request<RefreshRequest>,
) -> Result<Response<RefreshResponse>, Status> {
    let presented = RefreshToken::presented(request.into_inner().refresh_token);
    let shared = Arc::clone(shared);
    detached(async move {
        let hash = presented.hash();
        let exchanged = retried(|| exchange(&shared, &hash)).await;
        exchanged.map(Response::new).map_err(Status::from)
    })
    .await
}

async fn exchange(shared: &Shared, hash: &[u8; 32]) -> Result<RefreshResponse, Error> {
    let mut transaction = database::begin(&shared.pool).await?;
    let session = refresh_tokens::session_of(&mut transaction, hash)
        .await?
        .ok_or(RefreshError::Invalid)?;
    let locked = sessions::lock(&mut transaction, session)
        .await?
        .ok_or(RefreshError::Invalid)?;
    let row = refresh_tokens::find(&mut transaction, hash)
        .await?
        .ok_or(RefreshError::Invalid)?;
    // Read behind the lock: whoever held it before used it earlier.
    let now = now();
    let presented = Presented {
        state: row.state(),
        expires_at: row.expires_at,
        session_over: !alive(locked.ended_at, locked.expires_at, now),
    };
    let family = Family {
        token: row.id,
        session,
        user: UserId::from_uuid(locked.user_id),
        tenant: TenantId::parse(&locked.tenant_id).map_err(|_| Error::Stored { what: "tenant" })?,
    };
    let successor = Uuid::now_v7();
    match decide(&presented, now) {
        Decision::Rotate => {
            refresh_tokens::mark_used(&mut transaction, family.token, successor, now).await?;
        }
        Decision::Replace if !canary!("refresh.retry_punished") => {
            refresh_tokens::replace_successor(&mut transaction, family.token, successor, now)
                .await?;
        }
        Decision::Revoke if canary!("refresh.reuse_tolerated") => {
            return Err(RefreshError::Invalid.into());
        }
        Decision::Replace | Decision::Revoke => {
            revoke(&mut transaction, &family, now).await?;
            transaction.commit().await?;
            return Err(RefreshError::Reused.into());
        }
        Decision::Refuse => return Err(RefreshError::Invalid.into()),
    }
    let response = hand_out(shared, &mut transaction, &family, successor, now).await?;
    transaction.commit().await?;
    Ok(response)
}

/// Ends the session: two parties hold its tokens.
async fn revoke(
    conn: &mut PgConnection,
    family: &Family,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let reason = EndReason::RefreshTokenReused;
    let ended = sessions::end(conn, family.user, family.session, reason, now).await?;
    if let Some(ended) = ended {
        let circumstances = Circumstances {
            tenant: &family.tenant,
            actor: &family.user.to_string(),
            at: now,
        };
        let event = event::session_ended(family.user, &ended, reason, circumstances);
        bursar_events::append(conn, &[event]).await?;
        tracing::warn!(session = %family.session, "a refresh token was used twice; its session is ended");
    }
    Ok(())
}

/// Makes the successors of both tokens.
async fn hand_out(
    shared: &Shared,
    conn: &mut PgConnection,
    family: &Family,
    successor: Uuid,
    now: OffsetDateTime,
) -> Result<RefreshResponse, Error> {
    let refresh_token = RefreshToken::generate();
    let expires_at = now + REFRESH_TOKEN_LIFETIME;
    let new_token = refresh_tokens::NewRefreshToken {
        id: successor,
        tenant: family.tenant.as_str(),
        session: family.session,
        hash: &refresh_token.hash(),
        parent: Some(family.token),
        created_at: now,
        expires_at,
    };
    refresh_tokens::insert(conn, &new_token).await?;
    sessions::touch(conn, family.session, now, expires_at).await?;
    let subject = UserSubject {
        tenant: &family.tenant,
        user: family.user,
        session: family.session,
        granted: roles::granted_to(conn, family.user).await?,
    };
    let access_token = shared.issuer.user(subject, now)?;
    Ok(RefreshResponse {
        access_token: access_token.text.expose_secret().to_owned(),
        refresh_token: refresh_token.expose().to_owned(),
        expires_in_seconds: access_token.expires_in_seconds,
        session_id: family.session.to_string(),
    })
}
