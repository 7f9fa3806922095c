//! The calls of payment providers that a log tells of, each with the last word on
//! it.

use bursar_contracts::transaction::v1::{ExplainedProviderCall, ProviderCallOutcome};
use time::OffsetDateTime;

use super::Logged;
use crate::contract::timestamp;
use crate::domain::Event;

/// The calls, each with when it was about to be made.
pub(super) fn of(log: &[Logged]) -> Vec<(OffsetDateTime, ExplainedProviderCall)> {
    let mut calls: Vec<(OffsetDateTime, ExplainedProviderCall)> = Vec::new();
    for logged in log {
        if let Event::ProviderRequested { provider, attempt } = &logged.event {
            if let Some((_, before)) = calls.last_mut()
                && before.known_at.is_none()
            {
                // It is asked again only when nothing was sent.
                tell(before, ProviderCallOutcome::NotSent, logged.row.occurred_at);
            }
            calls.push((
                logged.row.occurred_at,
                ExplainedProviderCall {
                    provider: provider.to_string(),
                    attempt: *attempt,
                    ..ExplainedProviderCall::default()
                },
            ));
        } else if let Some((_, call)) = calls.last_mut() {
            answer(call, logged);
        }
    }
    calls
}

/// Takes in what an event says about the last call.
fn answer(call: &mut ExplainedProviderCall, logged: &Logged) {
    match &logged.event {
        Event::ProviderAccepted { reference } => {
            call.provider_reference.clone_from(reference);
            tell(call, ProviderCallOutcome::Accepted, logged.row.occurred_at);
        }
        Event::ProviderSucceeded { reference } => {
            call.provider_reference.clone_from(reference);
            tell(call, ProviderCallOutcome::Succeeded, logged.row.occurred_at);
        }
        Event::ProviderDeclined {
            reference,
            decline_code,
        } => {
            if let Some(reference) = reference {
                call.provider_reference.clone_from(reference);
            }
            call.decline_code.clone_from(decline_code);
            tell(call, ProviderCallOutcome::Declined, logged.row.occurred_at);
        }
        Event::OutcomeUnknown { cause } => {
            call.lost_cause.clone_from(cause);
            tell(call, ProviderCallOutcome::Lost, logged.row.occurred_at);
        }
        Event::Initiated(_)
        | Event::ShortfallFound { .. }
        | Event::FundsHeld { .. }
        | Event::ProviderRequested { .. }
        | Event::Completed { .. }
        | Event::Failed(_)
        | Event::ReviewRequired { .. }
        | Event::ReviewResolved(_) => {}
    }
}

fn tell(call: &mut ExplainedProviderCall, outcome: ProviderCallOutcome, at: OffsetDateTime) {
    call.outcome = outcome.into();
    call.known_at = Some(timestamp(at));
}
