//! `Logout`: ends the session of the calling token.

use std::sync::Arc;

use bursar_contracts::identity::v1::{LogoutRequest, LogoutResponse};
use bursar_server::{Context, database, detached, now};
use tonic::{Request, Response, Status};

use crate::domain::session::EndReason;
use crate::error::Error;
use crate::event::{self, Circumstances};
use crate::rpc::{Shared, retried};
use crate::store::sessions;

pub(crate) async fn handle(
    shared: &Arc<Shared>,
    request: Request<LogoutRequest>,
) -> Result<Response<LogoutResponse>, Status> {
    let context = Context::of(&request)?;
    let shared = Arc::clone(shared);
    detached(async move {
        let ended = retried(|| end(&shared, &context)).await;
        ended.map(Response::new).map_err(Status::from)
    })
    .await
}

/// Ends the session if it is alive. One that has ended is what the caller
/// asked for, so a logout that is sent again succeeds and tells of nothing.
async fn end(shared: &Shared, context: &Context) -> Result<LogoutResponse, Error> {
    let user = context.user_id()?;
    let Some(session) = context.caller.session else {
        return Ok(LogoutResponse {});
    };
    let now = now();
    let reason = EndReason::Logout;
    let mut transaction = database::begin(&shared.pool).await?;
    if let Some(ended) = sessions::end(&mut transaction, user, session, reason, now).await? {
        let circumstances = Circumstances {
            tenant: &context.caller.tenant,
            actor: &context.caller.actor(),
            at: now,
        };
        let event = event::session_ended(user, &ended, reason, circumstances);
        bursar_events::append(&mut transaction, &[event]).await?;
    }
    transaction.commit().await?;
    Ok(LogoutResponse {})
}
