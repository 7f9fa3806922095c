//! The rule that this process breaks on purpose.

use std::sync::LazyLock;

/// The variable that names the broken rule.
pub const CANARY_VARIABLE: &str = "BURSAR_CANARY";

static BROKEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(CANARY_VARIABLE).ok());

/// Whether the environment asks for this rule to be broken. Called by `canary!` only.
#[must_use]
pub fn is_broken(name: &str) -> bool {
    BROKEN.as_deref() == Some(name)
}
