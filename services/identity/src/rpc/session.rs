//! The session of the calling token.

use bursar_aip::id::{SessionId, UserId};
use bursar_server::Context;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::session::{SessionError, alive};
use crate::error::Error;
use crate::store::sessions;

/// The calling user and session, once the session is known to be alive. An
/// access token outlives its session by up to 15 minutes; what identity itself
/// answers it does not.
///
/// # Errors
/// [`SessionError::Revoked`] when the session was ended, has expired, is not the
/// user's, or is not named by the token.
pub(crate) async fn require_alive(
    conn: &mut PgConnection,
    context: &Context,
    now: OffsetDateTime,
) -> Result<(UserId, SessionId), Error> {
    let user = context.user_id()?;
    let session = context.caller.session.ok_or(SessionError::Revoked)?;
    let found = sessions::liveness(conn, user, session).await?;
    match found {
        Some(found) if alive(found.ended_at, found.expires_at, now) => Ok((user, session)),
        Some(_) | None => Err(SessionError::Revoked.into()),
    }
}
