//! What of a call its outgoing calls need, as task-locals.

use std::future::Future;
use std::time::Instant;

use secrecy::SecretString;

/// The parts of a call that travel on.
#[derive(Clone, Default)]
pub(crate) struct CallScope {
    /// When the answer must be there.
    pub(crate) deadline: Option<Instant>,
    /// The user's token.
    pub(crate) user_token: Option<SecretString>,
}

tokio::task_local! {
    static CURRENT: CallScope;
}

/// Runs a future inside a call's scope.
pub(crate) async fn enter<F: Future>(scope: CallScope, future: F) -> F::Output {
    CURRENT.scope(scope, future).await
}

/// Takes the current scope along into a future that runs elsewhere.
pub(crate) fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(current(), future)
}

/// The current scope; an empty one outside of any call.
pub(crate) fn current() -> CallScope {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}
