//! The id that joins all log lines, calls and events of one request.
//!
//! It enters with the `x-request-id` header (the gateway makes one when the
//! client sends none), lives in a task-local while the request is served, and
//! leaves with every call and event that the request causes.

use std::fmt;

use uuid::Uuid;

/// The header and gRPC metadata key that carries the id.
pub const HEADER: &str = "x-request-id";

/// The longest id that is taken over from outside, in bytes.
const MAX_LEN: usize = 64;

tokio::task_local! {
    static CURRENT: CorrelationId;
}

/// A correlation id: 1 to 64 characters of `A-Z a-z 0-9 - _ .`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// Makes a new id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string())
    }

    /// Takes an id over from outside. `None` when it is empty, too long or has
    /// a character that could disturb a log.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= MAX_LEN
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Runs a future with `id` as the current correlation id.
pub async fn scope<F: Future>(id: CorrelationId, future: F) -> F::Output {
    CURRENT.scope(id, future).await
}

/// The current request's id; a new one outside of any request.
pub fn current() -> CorrelationId {
    CURRENT
        .try_with(Clone::clone)
        .unwrap_or_else(|_| CorrelationId::generate())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that could forge log lines or grow without bound are not taken over.
    #[test]
    fn parse_refuses_what_could_disturb_a_log() {
        assert!(CorrelationId::parse("8f14e45f-ceea-4672-95b7-30a0b1c2d3e4").is_some());
        for bad in ["", "a\nb", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(CorrelationId::parse(bad), None, "{bad:?}");
        }
    }

    /// The id is visible inside its scope only.
    #[tokio::test]
    async fn current_follows_the_scope() {
        let id = CorrelationId::generate();
        let seen = scope(id.clone(), async { current() }).await;
        assert_eq!(seen, id);
        assert_ne!(current(), id);
    }
}
