//! What operators see: counts of what happened, the provider's times, and what
//! is under way.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use time::OffsetDateTime;

use crate::domain::{Asked, Looked, ProviderName, State, Transaction};
use crate::provider::Direction;
use crate::store::checks::Count;

/// A transaction reached a state.
pub(crate) fn moved(transaction: &Transaction) {
    let kind = transaction.movement.kind().name();
    let state = transaction.state.name();
    counter!("bursar_transactions_total", "type" => kind, "state" => state).increment(1);
    if transaction.state == State::ManualReview {
        tracing::error!(
            transaction_id = %transaction.id,
            cause = transaction.review_cause.as_deref(),
            "a transaction needs a person"
        );
    }
}

/// A provider was asked to act.
pub(crate) fn provider_asked(
    provider: &ProviderName,
    direction: Direction,
    asked: &Asked,
    took: Duration,
) {
    let outcome = match asked {
        Asked::Answered(_) => "answered",
        Asked::NotSent => "not_sent",
        Asked::Lost { .. } => "lost",
    };
    called(provider, direction.name(), outcome, took);
}

/// A provider was asked what it did.
pub(crate) fn provider_looked(
    provider: &ProviderName,
    direction: Direction,
    looked: &Looked,
    took: Duration,
) {
    let operation = match direction {
        Direction::Charge => "charge_status",
        Direction::Payout => "payout_status",
    };
    let outcome = match looked {
        Looked::Found(_) => "answered",
        Looked::NotFound => "not_found",
        Looked::Unanswered => "lost",
    };
    called(provider, operation, outcome, took);
}

fn called(provider: &ProviderName, operation: &'static str, outcome: &'static str, took: Duration) {
    histogram!(
        "bursar_provider_call_seconds",
        "provider" => provider.to_string(),
        "operation" => operation,
        "outcome" => outcome
    )
    .record(took.as_secs_f64());
}

/// What is under way, by state, and how old the oldest unknown outcome is.
pub(crate) fn under_way(counts: &[Count], now: OffsetDateTime) {
    for state in State::ALL.into_iter().filter(|state| !state.is_at_rest()) {
        let count = counts.iter().find(|count| count.state == state.name());
        let transactions = count.map_or(0, |count| count.transactions);
        let transactions = u32::try_from(transactions).unwrap_or(u32::MAX);
        gauge!("bursar_transactions_under_way", "state" => state.name()).set(transactions);
    }
    let oldest = counts
        .iter()
        .filter_map(|count| count.oldest_unknown_since)
        .min();
    let age = oldest.map_or(Duration::ZERO, |since| {
        Duration::try_from(now - since).unwrap_or(Duration::ZERO)
    });
    gauge!("bursar_transactions_unknown_oldest_age_seconds").set(age.as_secs_f64());
}
