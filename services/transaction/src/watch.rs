//! What operators see: counts of what happened, the provider's times, and what
//! is under way.

pub(crate) mod reconciliation;

use std::time::Duration;

use metrics::{Gauge, counter, gauge, histogram};
use time::OffsetDateTime;

use crate::domain::limit::{Exceeded, LimitKind};
use crate::domain::{Asked, Looked, ProviderName, State, Transaction};
use crate::fraud::{Screening, Stage};
use crate::provider::{Direction, Phase, Unavailable};
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
    let operation = direction.status_name();
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

/// What a provider's breaker is.
pub(crate) fn breaker(provider: &ProviderName, phase: Phase) {
    let value = match phase {
        Phase::Closed => 0.0,
        Phase::HalfOpen => 1.0,
        Phase::Open => 2.0,
    };
    gauge!("bursar_provider_breaker_state", "provider" => provider.to_string()).set(value);
}

/// A provider's breaker has turned.
pub(crate) fn breaker_turned(provider: &ProviderName, from: Phase, to: Phase) {
    breaker(provider, to);
    counter!(
        "bursar_provider_breaker_transitions_total",
        "provider" => provider.to_string(),
        "to" => to.name()
    )
    .increment(1);
    let (from, to_name) = (from.name(), to.name());
    match to {
        Phase::Open => {
            tracing::error!(%provider, from, to = to_name, "the provider is left alone for a while");
        }
        Phase::HalfOpen | Phase::Closed => {
            tracing::info!(%provider, from, to = to_name, "the provider's breaker has turned");
        }
    }
}

/// A call has taken a place of a provider's bulkhead.
pub(crate) fn bulkhead_entered(provider: &ProviderName, kind: &'static str) {
    bulkhead(provider, kind).increment(1);
}

/// A call has left its place.
pub(crate) fn bulkhead_left(provider: &ProviderName, kind: &'static str) {
    bulkhead(provider, kind).decrement(1);
}

fn bulkhead(provider: &ProviderName, kind: &'static str) -> Gauge {
    gauge!(
        "bursar_provider_bulkhead_in_use",
        "provider" => provider.to_string(),
        "kind" => kind
    )
}

/// A call was not made: `by` is `breaker` or `bulkhead`.
pub(crate) fn call_refused(provider: &ProviderName, operation: &'static str, by: &'static str) {
    counter!(
        "bursar_provider_refusals_total",
        "provider" => provider.to_string(),
        "operation" => operation,
        "by" => by
    )
    .increment(1);
}

/// A call without effect is made once more.
pub(crate) fn call_retried(provider: &ProviderName, operation: &'static str) {
    counter!(
        "bursar_provider_retries_total",
        "provider" => provider.to_string(),
        "operation" => operation
    )
    .increment(1);
}

/// A provider was chosen for a movement of which the caller named none; or there
/// was none to choose.
pub(crate) fn routed(direction: Direction, chosen: Result<&ProviderName, Unavailable>) {
    let direction = direction.name();
    match chosen {
        Ok(provider) => counter!(
            "bursar_provider_choices_total",
            "direction" => direction,
            "provider" => provider.to_string()
        ),
        Err(cause) => counter!(
            "bursar_provider_unavailable_total",
            "direction" => direction,
            "cause" => cause.name()
        ),
    }
    .increment(1);
}

/// A limit has refused a movement.
pub(crate) fn limit_refused(exceeded: &Exceeded) {
    let limit = match exceeded.kind {
        LimitKind::Single => "single",
        LimitKind::Daily => "daily",
        LimitKind::Monthly => "monthly",
        LimitKind::Velocity => "velocity",
    };
    counter!(
        "bursar_limit_refusals_total",
        "limit" => limit,
        "movement" => exceeded.movement.name()
    )
    .increment(1);
}

/// Fraud rules have looked at a transaction. A tenant has at most a hundred of them.
pub(crate) fn screened(stage: Stage, screening: &Screening) {
    if screening.variables.is_none() {
        return;
    }
    counter!(
        "bursar_fraud_screenings_total",
        "stage" => stage.name(),
        "verdict" => screening.verdict.name()
    )
    .increment(1);
    for finding in &screening.findings {
        let name = if finding.is_error {
            "bursar_fraud_rule_errors_total"
        } else {
            "bursar_fraud_rule_matches_total"
        };
        counter!(
            name,
            "rule" => finding.rule.name.clone(),
            "mode" => finding.rule.mode.name()
        )
        .increment(1);
    }
}

/// A person has decided a fraud case.
pub(crate) fn fraud_case_decided(is_approved: bool) {
    let decision = if is_approved { "APPROVE" } else { "REJECT" };
    counter!("bursar_fraud_cases_decided_total", "decision" => decision).increment(1);
}

/// How many fraud cases wait for a person, and since when the oldest does.
pub(crate) fn fraud_cases(open: i64, oldest: Option<OffsetDateTime>, now: OffsetDateTime) {
    let open = u32::try_from(open).unwrap_or(u32::MAX);
    gauge!("bursar_fraud_cases_open").set(open);
    gauge!("bursar_fraud_cases_oldest_age_seconds").set(age_seconds(oldest, now));
}

/// How old the oldest of something is; 0 when there is none.
fn age_seconds(oldest: Option<OffsetDateTime>, now: OffsetDateTime) -> f64 {
    let age = oldest.map_or(Duration::ZERO, |since| {
        Duration::try_from(now - since).unwrap_or(Duration::ZERO)
    });
    age.as_secs_f64()
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
    gauge!("bursar_transactions_unknown_oldest_age_seconds").set(age_seconds(oldest, now));
}
