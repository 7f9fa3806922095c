//! The caller of an RPC, as its verified token tells.

use bursar_aip::id::{SessionId, TenantId, UserId};
use secrecy::SecretString;

use crate::permission::Grants;

/// Who a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Nobody: the call had no token.
    Anonymous,
    /// A user.
    User(UserId),
    /// A service account, by its name.
    Service(String),
}

/// The caller of an RPC.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who calls.
    pub subject: Subject,
    /// The user's session; `None` for services.
    pub session: Option<SessionId>,
    /// The tenant that the caller belongs to.
    pub tenant: TenantId,
    /// How far the user's identity is verified; 0 when it is not, and for services.
    pub tier: u8,
    /// The names of the caller's roles.
    pub roles: Vec<String>,
    /// What the caller may do.
    pub grants: Grants,
    /// The user in whose name a service calls, when it passed the user's token on.
    pub on_behalf_of: Option<UserId>,
    /// The token, to be passed on to other services; `None` without one.
    pub token: Option<SecretString>,
}

impl Caller {
    /// A caller without a token.
    pub fn anonymous() -> Self {
        Self {
            subject: Subject::Anonymous,
            session: None,
            tenant: TenantId::default(),
            tier: 0,
            roles: Vec::new(),
            grants: Grants::default(),
            on_behalf_of: None,
            token: None,
        }
    }

    /// The user who calls; `None` for services and nobody.
    pub fn user_id(&self) -> Option<UserId> {
        match self.subject {
            Subject::User(id) => Some(id),
            Subject::Anonymous | Subject::Service(_) => None,
        }
    }

    /// The caller as one text: `anonymous`, a user's id, or `service:` and a name.
    pub fn principal(&self) -> String {
        match &self.subject {
            Subject::Anonymous => "anonymous".to_owned(),
            Subject::User(id) => id.to_string(),
            Subject::Service(name) => format!("service:{name}"),
        }
    }

    /// Who is behind what happens: the user in whose name a service calls, or
    /// else the principal. This is the actor of events.
    pub fn actor(&self) -> String {
        match self.on_behalf_of {
            Some(user) => user.to_string(),
            None => self.principal(),
        }
    }
}

/// How far the caller's permission reaches for the RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Over this user's own resources.
    Own(UserId),
    /// Over everybody's.
    Any,
}
