//! `RevokeSession`: ends one of the calling user's sessions.

use std::sync::Arc;

use bursar_aip::id::{SessionId, parse_field};
use bursar_contracts::identity::v1::{RevokeSessionRequest, RevokeSessionResponse};
use bursar_server::{Context, detached, now};
use sqlx::PgConnection;
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use crate::domain::session::{EndReason, SessionError};
use crate::error::Error;
use crate::event::{self, Circumstances};
use crate::rpc::idempotent::{Keyed, Turn};
use crate::rpc::session::require_alive;
use crate::rpc::{Shared, retried};
use crate::store::sessions;

pub(crate) async fn handle(
    shared: &Arc<Shared>,
    request: Request<RevokeSessionRequest>,
) -> Result<Response<RevokeSessionResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let session = parse_field("session_id", &message.session_id)?;
    let keyed = Keyed::new(&context, &message);
    let shared = Arc::clone(shared);
    detached(async move {
        let revoke = || revoke(&shared, &keyed, &context, session);
        retried(revoke).await.map_err(Status::from)
    })
    .await
}

async fn revoke(
    shared: &Shared,
    keyed: &Keyed,
    context: &Context,
    session: SessionId,
) -> Result<Response<RevokeSessionResponse>, Error> {
    let now = now();
    let mut claimed = match keyed.begin(&shared.pool, now).await? {
        Turn::Do(claimed) => claimed,
        Turn::Done(answer) => return Ok(answer?),
    };
    require_alive(&mut claimed.transaction, context, now).await?;
    let outcome = end(&mut claimed.transaction, context, session, now).await;
    claimed.finish(outcome).await
}

/// Ends the session and writes the event that tells of it. Another user's
/// session, one that has ended and one that never was are all not there.
async fn end(
    conn: &mut PgConnection,
    context: &Context,
    session: SessionId,
    now: OffsetDateTime,
) -> Result<RevokeSessionResponse, Error> {
    let user = context.user_id()?;
    let reason = EndReason::Revoked;
    let ended = sessions::end(conn, user, session, reason, now)
        .await?
        .ok_or(SessionError::NotFound)?;
    let circumstances = Circumstances {
        tenant: &context.caller.tenant,
        actor: &context.caller.actor(),
        at: now,
    };
    let event = event::session_ended(user, &ended, reason, circumstances);
    bursar_events::append(conn, &[event]).await?;
    Ok(RevokeSessionResponse {})
}
