//! Routes that are no RPCs, and so not in the contract: a key set that the
//! world's JWT libraries fetch, callbacks whose bodies payment providers sign
//! byte by byte, and files that are too long for a call. They reach a service's
//! HTTP address as they came.

use std::time::Duration;

/// A route to a service's HTTP address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainRoute {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, as a template of `google.api.http`.
    pub template: &'static str,
    /// The service.
    pub upstream: &'static str,
    /// How long it may take.
    pub deadline: Duration,
    /// Who may come through.
    pub access: PlainAccess,
    /// How large its body may be.
    pub body: PlainBody,
}

/// Who a plain route is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PlainAccess {
    /// Everybody.
    Everybody,
    /// Whoever has a token; the service looks for the permission.
    Token,
}

/// How large the body of a plain route may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PlainBody {
    /// Not larger than any request's.
    AnyRequest,
    /// Not larger than a callback's.
    Callback,
    /// As large as it is: the service reads it as it comes.
    Stream,
}

/// All of them.
pub(crate) const PLAIN_ROUTES: [PlainRoute; 3] = [
    PlainRoute {
        method: "GET",
        template: "/.well-known/jwks.json",
        upstream: "identity",
        deadline: Duration::from_secs(2),
        access: PlainAccess::Everybody,
        body: PlainBody::AnyRequest,
    },
    PlainRoute {
        method: "POST",
        template: "/api/v1/transactions/callbacks/{provider}",
        upstream: "transaction",
        deadline: Duration::from_secs(10),
        access: PlainAccess::Everybody,
        body: PlainBody::Callback,
    },
    PlainRoute {
        method: "POST",
        template: "/api/v1/transactions/settlement-files",
        upstream: "transaction",
        deadline: Duration::from_secs(3600),
        access: PlainAccess::Token,
        body: PlainBody::Stream,
    },
];
