//! The events of identity. They carry ids and roles, never personal data.

use bursar_aip::id::{SessionId, TenantId, UserId};
use bursar_contracts::identity::v1::{
    SessionEndReason, SessionEnded, SessionStarted, UserRegistered,
};
use bursar_contracts::instant::timestamp;
use bursar_events::{Aggregate, Event};
use time::OffsetDateTime;

use crate::domain::session::EndReason;
use crate::store::{sessions, users};

/// Who acts when nobody calls: the service, as it starts.
pub(crate) const SERVICE_ACTOR: &str = "service:identity";

/// Where and when something happened, and who did it.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) actor: &'a str,
    pub(crate) at: OffsetDateTime,
}

/// `identity.user.registered`.
pub(crate) fn user_registered(user: UserId, roles: &[&str], of: Circumstances<'_>) -> Event {
    let data = UserRegistered {
        user_id: user.to_string(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        registered_at: Some(timestamp(of.at)),
    };
    Event::new(
        "identity.user.registered",
        Aggregate {
            kind: "user",
            id: user.uuid(),
            subject: user.to_string(),
        },
        users::FIRST_VERSION,
        &data,
        of.actor.to_owned(),
        of.tenant.clone(),
        of.at,
    )
}

/// `identity.session.started`.
pub(crate) fn session_started(user: UserId, session: SessionId, of: Circumstances<'_>) -> Event {
    let data = SessionStarted {
        user_id: user.to_string(),
        session_id: session.to_string(),
    };
    Event::new(
        "identity.session.started",
        aggregate(session),
        sessions::FIRST_VERSION,
        &data,
        of.actor.to_owned(),
        of.tenant.clone(),
        of.at,
    )
}

/// `identity.session.ended`.
pub(crate) fn session_ended(
    user: UserId,
    ended: &sessions::EndedSession,
    reason: EndReason,
    of: Circumstances<'_>,
) -> Event {
    let session = SessionId::from_uuid(ended.id);
    let reason = match reason {
        EndReason::Logout => SessionEndReason::Logout,
        EndReason::Revoked => SessionEndReason::Revoked,
        EndReason::RefreshTokenReused => SessionEndReason::RefreshTokenReused,
    };
    let data = SessionEnded {
        user_id: user.to_string(),
        session_id: session.to_string(),
        reason: reason.into(),
    };
    Event::new(
        "identity.session.ended",
        aggregate(session),
        ended.version,
        &data,
        of.actor.to_owned(),
        of.tenant.clone(),
        of.at,
    )
}

fn aggregate(session: SessionId) -> Aggregate {
    Aggregate {
        kind: "session",
        id: session.uuid(),
        subject: session.to_string(),
    }
}
