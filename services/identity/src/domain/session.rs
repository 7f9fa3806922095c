//! A session: one login and the family of refresh tokens that descends from it.

use thiserror::Error;
use time::{Duration, OffsetDateTime};

/// How long a user's access token is good for.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::minutes(15);

/// How long a refresh token is good for, and so a session that nobody refreshes.
pub const REFRESH_TOKEN_LIFETIME: Duration = Duration::days(7);

/// How long a service's access token is good for.
pub const SERVICE_TOKEN_LIFETIME: Duration = Duration::minutes(5);

/// How much of a client's own name is kept, in characters.
const USER_AGENT_MAX_CHARS: usize = 200;

/// Why a session cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The calling token's session was ended, has expired, or never was.
    #[error("the session has ended")]
    Revoked,
    /// The caller has no living session of that id.
    #[error("no such session")]
    NotFound,
}

/// Why a session ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The user logged out.
    Logout,
    /// It was revoked, by its user or because the password was changed.
    Revoked,
    /// A refresh token was used twice.
    RefreshTokenReused,
}

impl EndReason {
    /// The name under which the database keeps the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::RefreshTokenReused => "refresh_token_reused",
        }
    }
}

/// Whether a session can be used at `now`: it was not ended, and it is not over.
pub fn alive(
    ended_at: Option<OffsetDateTime>,
    expires_at: OffsetDateTime,
    now: OffsetDateTime,
) -> bool {
    ended_at.is_none() && expires_at > now
}

/// What is kept of a client's `user-agent`: at most 200 characters, none of
/// which could disturb a terminal or a log.
pub fn user_agent(raw: &str) -> String {
    raw.chars()
        .filter(|character| !character.is_control())
        .take(USER_AGENT_MAX_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// A session is over at its end, and from the moment it was ended.
    #[test]
    fn sessions_end_by_time_or_by_hand() {
        let now = datetime!(2026-01-02 03:04:05 UTC);
        assert!(alive(None, now + Duration::SECOND, now));
        assert!(!alive(None, now, now));
        assert!(!alive(Some(now), now + Duration::SECOND, now));
    }

    /// A user agent is bounded and printable.
    #[test]
    fn user_agents_are_cut_and_cleaned() {
        assert_eq!(user_agent("curl/8\u{7}.0\n"), "curl/8.0");
        assert_eq!(user_agent(&"é".repeat(500)).chars().count(), 200);
    }
}
