//! What an explanation tells, to whom, and in which order.

use bursar_aip::id::{FeeRuleId, HoldId, TenantId, UserId, WalletId};
use bursar_contracts::transaction::v1::ProviderCallOutcome;
use bursar_money::{Currency, PositiveMoney};
use bursar_server::now;
use proptest::prelude::*;
use time::Duration;
use uuid::Uuid;

use super::*;
use crate::contract::instant;
use crate::domain::{Failure, Fee, FeePayer, Initiated, Movement, Price, Transaction};

fn initiated() -> Initiated {
    Initiated {
        movement: Movement::Withdrawal {
            from: WalletId::generate(),
            provider: "sandbox".parse().expect("a valid name"),
            payout_account: None,
        },
        amount: PositiveMoney::new(Currency::parse("EUR").expect("a currency"), 100)
            .expect("positive"),
        price: Price::default(),
        initiator: UserId::generate(),
    }
}

fn requested(attempt: u32) -> Event {
    Event::ProviderRequested {
        provider: "sandbox".parse().expect("a valid name"),
        attempt,
    }
}

fn held() -> Event {
    Event::FundsHeld {
        hold: HoldId::generate(),
    }
}

fn lost() -> Event {
    Event::OutcomeUnknown {
        cause: "timeout".to_owned(),
    }
}

fn succeeded() -> Event {
    Event::ProviderSucceeded {
        reference: "po_1".to_owned(),
    }
}

/// The beginning tells what it costs, when a rule was there for it.
#[test]
fn the_beginning_tells_the_fee() {
    let plain = words::summary(&Event::Initiated(initiated()));
    assert_eq!(plain, "A withdrawal was recorded.");
    let fee = Fee {
        minor: 35,
        payer: FeePayer::Sender,
        rule: FeeRuleId::generate(),
    };
    let price = Price {
        fee: Some(fee),
        conversion: None,
    };
    let priced = Initiated {
        price,
        ..initiated()
    };
    let told = words::summary(&Event::Initiated(priced));
    assert_eq!(told, "A withdrawal was recorded, with a fee of 0.35 EUR.");
}

/// A log whose events happened at these seconds after the first.
fn material(events: &[(Event, i64)]) -> Material {
    let start = now();
    let first = initiated();
    let stored = Stored {
        transaction: Transaction::initiate(TransactionId::generate(), first.clone(), start),
        tenant: TenantId::default(),
        description: String::new(),
        refunded_minor: 0,
    };
    let row = |version, event: &Event, seconds| LoggedRow {
        event_id: Uuid::now_v7(),
        version,
        kind: event.kind().to_owned(),
        data: Vec::new(),
        occurred_at: start + Duration::seconds(seconds),
        actor: "usr_1".to_owned(),
        correlation_id: "c-1".to_owned(),
        traceparent: Some(format!("00-{}-00f067aa0ba902b7-01", "4b".repeat(16))),
        recorded_at: start,
        is_published: true,
    };
    let events = [(Event::Initiated(first), 0)]
        .into_iter()
        .chain(events.iter().cloned());
    Material {
        stored,
        bulk: None,
        run: None,
        log: (1..)
            .zip(events)
            .map(|(version, (event, seconds))| Logged {
                row: row(version, &event, seconds),
                event,
            })
            .collect(),
        key: Some(KeyRow {
            method: "/bursar.transaction.v1.TransactionService/CreateWithdrawal".to_owned(),
            key_hash: "0123456789abcdef".to_owned(),
            is_answered: true,
        }),
        callbacks: vec![CallbackRow {
            provider: "sandbox".to_owned(),
            callback_id: "cb_1".to_owned(),
            kind: "payout.succeeded".to_owned(),
            received_at: start + Duration::seconds(5),
            matched_at: None,
        }],
        refunds: Vec::new(),
        check: Some(CheckRow {
            next_check_at: start,
            attempts: 1,
            lease_until: start,
        }),
        settled: Vec::new(),
        breaks: Vec::new(),
        postings: vec![(start + Duration::seconds(1), ExplainedPosting::default())],
        missing: Vec::new(),
    }
}

/// An operator is told everything: the request with its key and trace, each event
/// with its row, the callbacks, the next check.
#[test]
fn an_operator_is_told_everything() {
    let told = material(&[
        (held(), 1),
        (requested(0), 2),
        (lost(), 3),
        (succeeded(), 6),
    ])
    .explain(Audience::Operator);
    let request = told.steps[0].request.as_ref().expect("it comes first");
    assert_eq!(request.idempotency_key_hash, "0123456789abcdef");
    assert_eq!(request.trace_id, "4b".repeat(16));
    let events: Vec<_> = told
        .steps
        .iter()
        .filter_map(|step| step.event.as_ref())
        .collect();
    assert_eq!(events.len(), 5);
    assert!(
        events
            .iter()
            .all(|event| event.is_published && !event.event_id.is_empty())
    );
    assert!(told.steps.iter().any(|step| step.callback.is_some()));
    assert!(told.steps.iter().any(|step| step.hold.is_some()));
    assert!(told.next_check.is_some());
}

/// A customer is told what happened and nothing of the inside.
#[test]
fn a_customer_is_told_nothing_of_the_inside() {
    let told = material(&[(held(), 1), (requested(0), 2), (lost(), 3)]).explain(Audience::Customer);
    assert!(told.next_check.is_none());
    for step in &told.steps {
        assert!(step.callback.is_none());
        if let Some(request) = &step.request {
            assert_eq!(
                (
                    &*request.method,
                    &*request.idempotency_key_hash,
                    &*request.trace_id
                ),
                ("", "", "")
            );
        }
        if let Some(event) = &step.event {
            assert_eq!(
                (&*event.event_id, &*event.actor, &*event.trace_id),
                ("", "", "")
            );
            assert!(event.recorded_at.is_none() && !event.is_published);
            assert!(!event.summary.is_empty());
        }
        if let Some(call) = &step.provider_call {
            assert_eq!(call.lost_cause, "");
        }
    }
}

/// Each call of a provider has the last word on it, also when that came late, and
/// one of which nothing was sent is told as that.
#[test]
fn calls_have_the_last_word_on_them() {
    let told = material(&[
        (held(), 1),
        (requested(0), 2),
        (requested(1), 3),
        (lost(), 4),
        (succeeded(), 60),
    ])
    .explain(Audience::Operator);
    let calls: Vec<_> = told
        .steps
        .iter()
        .filter_map(|step| step.provider_call.as_ref())
        .map(|call| {
            (
                call.attempt,
                call.outcome(),
                &*call.lost_cause,
                &*call.provider_reference,
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            (0, ProviderCallOutcome::NotSent, "", ""),
            (1, ProviderCallOutcome::Succeeded, "timeout", "po_1"),
        ]
    );
}

proptest! {
    /// Whatever the clocks said, steps come in the order of their times, events in
    /// the order of their versions, and exactly one thing is told by each.
    #[test]
    fn steps_are_in_order(seconds in proptest::collection::vec(-20_i64..20, 0..12)) {
        let events: Vec<_> = seconds
            .iter()
            .map(|at| {
                let failure = Failure::declined();
                (if at % 2 == 0 { requested(0) } else { Event::Failed(failure) }, *at)
            })
            .collect();
        let told = material(&events).explain(Audience::Operator);
        let times: Vec<_> = told
            .steps
            .iter()
            .map(|step| step.at.as_ref().and_then(instant).expect("each has its time"))
            .collect();
        prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
        let versions: Vec<_> = told
            .steps
            .iter()
            .filter_map(|step| Some(step.event.as_ref()?.version))
            .collect();
        let expected: Vec<i64> = (1..=i64::try_from(events.len() + 1).expect("few")).collect();
        prop_assert_eq!(versions, expected);
        for step in &told.steps {
            let things = [
                step.request.is_some(),
                step.event.is_some(),
                step.provider_call.is_some(),
                step.callback.is_some(),
                step.hold.is_some(),
                step.posting.is_some(),
                step.refund.is_some(),
                step.settlement.is_some(),
                step.settlement_break.is_some(),
            ];
            prop_assert_eq!(things.into_iter().filter(|is_set| *is_set).count(), 1);
        }
    }
}
