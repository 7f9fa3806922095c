//! What an access token says.

use serde::{Deserialize, Serialize};

/// The `typ` header of access tokens, by RFC 9068.
pub const TOKEN_TYPE: &str = "at+jwt";

/// What kind of caller a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A person.
    User,
    /// A service account.
    Service,
}

/// The claims of an access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// A user's id (`usr_…`), or `svc_` and a service account's name.
    pub sub: String,
    /// What kind of caller it is for.
    pub kind: TokenKind,
    /// The user's session (`ses_…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The names of the caller's roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The caller's grants, as `resource:action:target`.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// The caller's tenant.
    pub tenant: String,
    /// The user's verification tier; 0 when nothing was verified.
    #[serde(default)]
    pub tier: u8,
    /// When it was issued, in seconds of the Unix epoch.
    pub iat: i64,
    /// When it ends, in seconds of the Unix epoch.
    pub exp: i64,
    /// The token's own id.
    pub jti: String,
}
