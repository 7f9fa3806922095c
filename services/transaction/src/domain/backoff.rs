//! When a transaction that is under way is looked at again.

use std::time::Duration;

use time::OffsetDateTime;

use super::{State, Terms, Transaction};

/// The first delay.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay where only the ledger, or a provider that nothing was sent
/// to, is waited for.
const CAP_READY: Duration = Duration::from_secs(10);
/// The longest delay where a provider has to say what it did.
const CAP_ASKING: Duration = Duration::from_secs(60);
/// How long after the end of the provider's window the decisive look is taken.
const AFTER_WINDOW: Duration = Duration::from_millis(200);

/// How long until the next check, after `attempts` of them: doubling from one
/// second to a cap by state, scaled by `jitter_permille` (750 to 1250 spreads
/// checks that failed together). A check that only waits for the provider's
/// window to close comes no later than that.
pub fn next_check_in(
    transaction: &Transaction,
    attempts: u32,
    jitter_permille: u32,
    terms: &Terms,
    now: OffsetDateTime,
) -> Duration {
    let cap = match transaction.state {
        State::Processing | State::Unknown => CAP_ASKING,
        State::Pending
        | State::Held
        | State::Settling
        | State::Releasing
        | State::Completed
        | State::Failed
        | State::ManualReview => CAP_READY,
    };
    let doubled = FIRST.saturating_mul(1_u32 << attempts.min(16)).min(cap);
    let spread = doubled.saturating_mul(jitter_permille) / 1000;
    match transaction.window_closes_in(terms, now) {
        Some(left) if !left.is_zero() => spread.min(left + AFTER_WINDOW),
        Some(_) | None => spread,
    }
}

impl Transaction {
    /// How long the provider may still come to know a request that it does not
    /// know; zero when that time is over, `None` when it was never asked.
    pub(super) fn window_closes_in(&self, terms: &Terms, now: OffsetDateTime) -> Option<Duration> {
        let closes_at = self.provider_requested_at? + terms.lookup_window;
        Some(Duration::try_from(closes_at - now).unwrap_or(Duration::ZERO))
    }
}
