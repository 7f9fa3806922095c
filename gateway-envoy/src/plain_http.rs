//! Routes that are no RPCs, and so not in the contract: a key set that the
//! world's JWT libraries fetch, and callbacks whose bodies payment providers
//! sign byte by byte. They reach a service's HTTP address as they came.

use std::time::Duration;

/// A route to a service's HTTP address, open to everybody.
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
    /// How large its body may be.
    pub body: PlainBody,
}

/// How large the body of a plain route may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PlainBody {
    /// Not larger than any request's.
    AnyRequest,
    /// Not larger than a callback's.
    Callback,
}

/// All of them.
pub(crate) const PLAIN_ROUTES: [PlainRoute; 2] = [
    PlainRoute {
        method: "GET",
        template: "/.well-known/jwks.json",
        upstream: "identity",
        deadline: Duration::from_secs(2),
        body: PlainBody::AnyRequest,
    },
    PlainRoute {
        method: "POST",
        template: "/api/v1/transactions/callbacks/{provider}",
        upstream: "transaction",
        deadline: Duration::from_secs(10),
        body: PlainBody::Callback,
    },
];
