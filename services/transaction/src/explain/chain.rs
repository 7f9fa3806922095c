//! The chain of what happened, in the order of time. Pure.

mod calls;
mod words;

use bursar_aip::id::{BreakId, BulkTransferId, ScheduleId, SettlementFileId, TransactionId};
use bursar_contracts::transaction::v1::{
    ExplainedBreak, ExplainedCallback, ExplainedCheck, ExplainedEvent, ExplainedHold,
    ExplainedPosting, ExplainedRefund, ExplainedRequest, ExplainedSettlement, ExplainedStep,
    Explanation, MissingPart,
};
use bursar_contracts::r#type::v1::Money;
use bursar_events::Logged as LoggedRow;
use time::OffsetDateTime;

use crate::contract::{self, timestamp};
use crate::domain::{Event, State};
use crate::store::explain::{BreakRow, CallbackRow, CheckRow, KeyRow, RefundRow, SettledRow};
use crate::store::transactions::Stored;

/// Who an explanation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A customer: what happened, and nothing of the inside.
    Customer,
    /// An operator: everything.
    Operator,
}

/// An event with its row in the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) event: Event,
    pub(crate) row: LoggedRow,
}

/// What was found about a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    pub(crate) stored: Stored,
    pub(crate) bulk: Option<BulkTransferId>,
    /// The schedule that made it, with the number of its run.
    pub(crate) run: Option<(ScheduleId, i32)>,
    pub(crate) log: Vec<Logged>,
    pub(crate) key: Option<KeyRow>,
    pub(crate) callbacks: Vec<CallbackRow>,
    pub(crate) refunds: Vec<RefundRow>,
    pub(crate) check: Option<CheckRow>,
    pub(crate) settled: Vec<SettledRow>,
    pub(crate) breaks: Vec<BreakRow>,
    /// The ledger's postings, each with when it was recorded.
    pub(crate) postings: Vec<(OffsetDateTime, ExplainedPosting)>,
    pub(crate) missing: Vec<MissingPart>,
}

/// A step that is not yet in its place.
struct Placed {
    at: OffsetDateTime,
    step: ExplainedStep,
}

impl Material {
    /// The explanation for an audience.
    pub(crate) fn explain(self, audience: Audience) -> Explanation {
        let mut steps = Vec::new();
        // What happened at the same time is told in this order, which is that of
        // cause and effect.
        steps.extend(self.request(audience));
        steps.extend(self.events(audience));
        steps.extend(self.log.iter().filter_map(hold));
        steps.extend(calls::of(&self.log).into_iter().map(|(at, mut call)| {
            if audience == Audience::Customer {
                call.lost_cause.clear();
            }
            let provider_call = Some(call);
            placed(
                at,
                ExplainedStep {
                    provider_call,
                    ..ExplainedStep::default()
                },
            )
        }));
        if audience == Audience::Operator {
            steps.extend(self.callbacks.iter().map(callback));
            steps.extend(self.settled.iter().map(settlement));
            steps.extend(self.breaks.iter().map(broken));
        }
        steps.extend(self.refunds.iter().filter_map(refund));
        steps.extend(self.postings.iter().map(|(at, posting)| {
            let posting = Some(posting.clone());
            placed(
                *at,
                ExplainedStep {
                    posting,
                    ..ExplainedStep::default()
                },
            )
        }));
        // A stable sort: events keep the order of their versions.
        steps.sort_by_key(|placed| placed.at);
        Explanation {
            transaction: Some(contract::transaction(&self.stored)),
            bulk_transfer_id: contract::text(self.bulk),
            schedule_id: contract::text(self.run.map(|(schedule, _)| schedule)),
            schedule_run_number: self.run.map_or(0, |(_, number)| number),
            steps: steps.into_iter().map(|placed| placed.step).collect(),
            missing_parts: self.missing,
            next_check: self
                .check
                .filter(|_| audience == Audience::Operator)
                .map(|check| ExplainedCheck {
                    at: Some(timestamp(check.next_check_at)),
                    attempts: check.attempts,
                    leased_until: Some(timestamp(check.lease_until)),
                }),
        }
    }

    /// The request, as the first event and the key tell it.
    fn request(&self, audience: Audience) -> Option<Placed> {
        let first = self.log.first()?;
        let mut request = ExplainedRequest {
            actor: first.row.actor.clone(),
            correlation_id: first.row.correlation_id.clone(),
            ..ExplainedRequest::default()
        };
        if audience == Audience::Operator {
            request.trace_id = trace_id(first.row.traceparent.as_deref());
            if let Some(key) = &self.key {
                request.method.clone_from(&key.method);
                request.idempotency_key_hash.clone_from(&key.key_hash);
                request.is_answered = key.is_answered;
            }
        }
        let request = Some(request);
        Some(placed(
            first.row.occurred_at,
            ExplainedStep {
                request,
                ..ExplainedStep::default()
            },
        ))
    }

    fn events(&self, audience: Audience) -> Vec<Placed> {
        let mut latest = OffsetDateTime::UNIX_EPOCH;
        self.log
            .iter()
            .map(|logged| {
                // The order of versions is the order of what happened, also where a
                // clock went back.
                latest = latest.max(logged.row.occurred_at);
                let event = Some(event(logged, audience));
                placed(
                    latest,
                    ExplainedStep {
                        event,
                        ..ExplainedStep::default()
                    },
                )
            })
            .collect()
    }
}

fn placed(at: OffsetDateTime, step: ExplainedStep) -> Placed {
    Placed {
        at,
        step: ExplainedStep {
            at: Some(timestamp(at)),
            ..step
        },
    }
}

fn event(logged: &Logged, audience: Audience) -> ExplainedEvent {
    let told = ExplainedEvent {
        kind: logged.event.kind().to_owned(),
        version: logged.row.version,
        summary: words::summary(&logged.event),
        ..ExplainedEvent::default()
    };
    match audience {
        Audience::Customer => told,
        Audience::Operator => ExplainedEvent {
            event_id: logged.row.event_id.to_string(),
            actor: logged.row.actor.clone(),
            correlation_id: logged.row.correlation_id.clone(),
            trace_id: trace_id(logged.row.traceparent.as_deref()),
            recorded_at: Some(timestamp(logged.row.recorded_at)),
            is_published: logged.row.is_published,
            ..told
        },
    }
}

fn hold(logged: &Logged) -> Option<Placed> {
    let Event::FundsHeld { hold } = &logged.event else {
        return None;
    };
    let hold = Some(ExplainedHold {
        hold_id: hold.to_string(),
    });
    Some(placed(
        logged.row.occurred_at,
        ExplainedStep {
            hold,
            ..ExplainedStep::default()
        },
    ))
}

fn callback(row: &CallbackRow) -> Placed {
    let callback = Some(ExplainedCallback {
        provider: row.provider.clone(),
        callback_id: row.callback_id.clone(),
        kind: row.kind.clone(),
        matched_at: row.matched_at.map(timestamp),
    });
    placed(
        row.received_at,
        ExplainedStep {
            callback,
            ..ExplainedStep::default()
        },
    )
}

fn refund(row: &RefundRow) -> Option<Placed> {
    let state = contract::transaction_state(State::parse(&row.state)?);
    let refund = Some(ExplainedRefund {
        transaction_id: TransactionId::from_uuid(row.transaction_id).to_string(),
        state: state.into(),
        amount: Some(money(&row.currency_code, row.amount_minor)),
    });
    Some(placed(
        row.created_at,
        ExplainedStep {
            refund,
            ..ExplainedStep::default()
        },
    ))
}

fn settlement(row: &SettledRow) -> Placed {
    let settlement = Some(ExplainedSettlement {
        file_id: SettlementFileId::from_uuid(row.file_id).to_string(),
        line: row.line,
        provider_reference: row.provider_reference.clone(),
        gross: Some(money(&row.currency_code, row.gross_minor)),
        fee: Some(money(&row.currency_code, row.fee_minor)),
        rule: row.rule.clone(),
    });
    placed(
        row.matched_at,
        ExplainedStep {
            settlement,
            ..ExplainedStep::default()
        },
    )
}

fn broken(row: &BreakRow) -> Placed {
    let settlement_break = Some(ExplainedBreak {
        break_id: BreakId::from_uuid(row.break_id).to_string(),
        reason: row.reason.clone(),
        is_resolved: row.state == "RESOLVED",
    });
    placed(
        row.first_seen_at,
        ExplainedStep {
            settlement_break,
            ..ExplainedStep::default()
        },
    )
}

fn money(currency_code: &str, minor_units: i64) -> Money {
    Money {
        currency_code: currency_code.to_owned(),
        minor_units,
    }
}

/// The trace id of a W3C `traceparent`; empty when there is none.
fn trace_id(traceparent: Option<&str>) -> String {
    traceparent
        .and_then(|text| text.split('-').nth(1))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests;
