//! Single turns of the state machine, each a rule of its own.

use std::time::Duration;

use bursar_money::{Currency, Money};
use time::OffsetDateTime;

use super::super::super::{
    Answer, Asked, Command, Event, FailureReason, Input, LedgerFault, Looked, Note, Posted,
    PostingKind, Refusal, RefusalReason, Side, State, Step, StepError, Transaction, Verdict,
    next_check_in, step,
};
use super::{TERMS, amount, deposit, initiated, transfer, user, withdrawal};

pub(super) fn at(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(super) fn turn(transaction: &Transaction, input: Input) -> Step {
    turn_at(transaction, input, 1)
}

pub(super) fn turn_at(transaction: &Transaction, input: Input, seconds: u64) -> Step {
    step(transaction, input, &TERMS, at(seconds)).expect("the input fits")
}

pub(super) fn posted() -> Input {
    Input::Posted(Posted {
        recorded_at: at(1),
        beneficiary: Some(user()),
    })
}

pub(super) fn lost() -> Input {
    Input::Asked(Asked::Lost {
        cause: "timeout".to_owned(),
    })
}

pub(super) fn succeeded(minor: i64) -> Answer {
    Answer::Succeeded {
        reference: "po_1".to_owned(),
        amount: amount(minor).money(),
    }
}

pub(super) fn posting_kind(step: &Step) -> Option<PostingKind> {
    match &step.command {
        Some(Command::Post(posting) | Command::Bar { posting, .. }) => Some(posting.kind),
        Some(Command::Ask | Command::Look | Command::Measure(_)) | None => None,
    }
}

pub(super) const POOR: Refusal = Refusal {
    reason: RefusalReason::InsufficientFunds,
    side: Side::Payer,
};

/// A withdrawal that was held and asked for.
pub(super) fn asked_withdrawal() -> Transaction {
    let placing = turn(&initiated(withdrawal()), Input::Resume(None));
    assert_eq!(posting_kind(&placing), Some(PostingKind::Place));
    let asking = turn(&placing.transaction, posted());
    assert_eq!(asking.command, Some(Command::Ask));
    asking.transaction
}

/// A transfer is one posting under the transaction's own id.
#[test]
fn a_transfer_is_posted_and_completes() {
    let posting = turn(&initiated(transfer()), Input::Resume(None));
    let Some(Command::Post(request)) = &posting.command else {
        panic!("a transfer is posted");
    };
    assert_eq!(request.id, posting.transaction.id.uuid());
    let done = turn(&posting.transaction, posted());
    assert_eq!(done.transaction.state, State::Completed);
    assert_eq!(done.transaction.beneficiary, Some(user()));
    assert_eq!(done.command, None);
}

/// The one attempt that was ever sent was refused: that is final.
#[test]
fn a_refusal_of_the_only_attempt_fails() {
    let refused = Input::Refused {
        refusal: POOR,
        sole_attempt: true,
    };
    let failed = turn(&initiated(transfer()), refused);
    assert_eq!(failed.transaction.state, State::Failed);
    let failure = failed
        .transaction
        .failure
        .expect("a failed transaction says why");
    assert_eq!(
        failure.reason,
        FailureReason::Refused(RefusalReason::InsufficientFunds)
    );
}

/// While another attempt may still arrive, the id is barred before the refusal
/// counts; a bar that comes too late finds the money moved.
#[test]
fn a_refusal_beside_a_lost_attempt_is_barred_first() {
    let pending = initiated(transfer());
    let refused = Input::Refused {
        refusal: POOR,
        sole_attempt: false,
    };
    let barring = turn(&pending, refused);
    assert_eq!(barring.note, Some(Note::Refused(POOR)));
    assert_eq!(posting_kind(&barring), Some(PostingKind::Bar));
    assert!(barring.events.is_empty());

    let resumed = turn(&pending, Input::Resume(barring.note));
    assert_eq!(posting_kind(&resumed), Some(PostingKind::Bar));
    let barred = turn(&pending, Input::Barred(Verdict::Refused(POOR)));
    assert_eq!(barred.transaction.state, State::Failed);
    let too_late = turn(&pending, Input::BarredTooLate);
    assert_eq!(posting_kind(&too_late), Some(PostingKind::Transfer));
}

/// A timeout is UNKNOWN; only the provider's word leads out of it.
#[test]
fn a_lost_answer_is_unknown_until_the_provider_tells() {
    let unknown = turn(&asked_withdrawal(), lost()).transaction;
    assert_eq!(unknown.state, State::Unknown);
    assert!(unknown.unknown_since.is_some());
    assert_eq!(
        turn(&unknown, Input::Resume(None)).command,
        Some(Command::Look)
    );
    let years_later = turn_at(&unknown, Input::Looked(Looked::Unanswered), 100_000_000);
    assert_eq!(years_later.transaction.state, State::Unknown);
    let found = turn(&unknown, Input::Looked(Looked::Found(succeeded(100))));
    assert_eq!(found.transaction.state, State::Settling);
    assert_eq!(posting_kind(&found), Some(PostingKind::Capture));
    assert_eq!(found.transaction.unknown_since, None);
}

/// "Not found" says nothing while the provider's window is open, and that
/// nothing happened when it is closed.
#[test]
fn not_found_counts_after_the_window() {
    let unknown = turn(&asked_withdrawal(), lost()).transaction;
    let early = turn_at(&unknown, Input::Looked(Looked::NotFound), 60);
    assert_eq!(
        (early.transaction.state, early.command),
        (State::Unknown, None)
    );
    let late = turn_at(&unknown, Input::Looked(Looked::NotFound), 61);
    assert_eq!(posting_kind(&late), Some(PostingKind::Void));
    let ended = turn_at(&late.transaction, posted(), 61).transaction;
    assert_eq!(ended.state, State::Failed);
    let failure = ended.failure.expect("a failed transaction says why");
    assert_eq!(failure.reason, FailureReason::ProviderNeverReceived);
}

/// A provider that forgets what it had accepted is a person's business.
#[test]
fn an_accepted_request_that_vanishes_needs_a_person() {
    let accepted = Answer::Accepted {
        reference: "po_1".to_owned(),
    };
    let waiting = turn(&asked_withdrawal(), Input::Asked(Asked::Answered(accepted)));
    assert_eq!(
        (waiting.transaction.state, &waiting.command),
        (State::Processing, &None)
    );
    let gone = turn_at(&waiting.transaction, Input::Looked(Looked::NotFound), 100);
    assert_eq!(gone.transaction.state, State::ManualReview);
}

/// What was certainly not sent may be sent again, but not for ever.
#[test]
fn what_was_never_sent_is_sent_again_or_given_up() {
    let unsent = turn(&asked_withdrawal(), Input::Asked(Asked::NotSent));
    assert_eq!(unsent.note, Some(Note::Unsent));
    assert_eq!(unsent.transaction.state, State::Processing);
    let again = turn(&unsent.transaction, Input::Resume(unsent.note));
    assert_eq!(again.command, Some(Command::Ask));
    assert_eq!(again.transaction.provider_requests, 2);
    let given_up = turn_at(&unsent.transaction, Input::Resume(unsent.note), 900);
    assert_eq!(posting_kind(&given_up), Some(PostingKind::Void));
}

/// A run that was cut off after it announced the request may have sent it.
#[test]
fn an_interrupted_request_is_not_sent_again() {
    let asked = asked_withdrawal();
    assert_eq!(
        turn(&asked, Input::Resume(None)).command,
        Some(Command::Look)
    );
    let not_found = turn(&asked, Input::Looked(Looked::NotFound));
    assert_eq!(not_found.transaction.state, State::Unknown);
}

/// A declined deposit fails at once, a declined withdrawal once its hold is void.
#[test]
fn declines_give_everything_back() {
    let declined = || {
        Input::Asked(Asked::Answered(Answer::Declined {
            reference: None,
            decline_code: "do_not_honor".to_owned(),
        }))
    };
    let asking = turn(&initiated(deposit()), Input::Resume(None));
    let failed = turn(&asking.transaction, declined()).transaction;
    assert_eq!(failed.state, State::Failed);
    assert_eq!(failed.decline_code.as_deref(), Some("do_not_honor"));

    let releasing = turn(&asked_withdrawal(), declined());
    assert_eq!(releasing.transaction.state, State::Releasing);
    assert_eq!(posting_kind(&releasing), Some(PostingKind::Void));
    let failed = turn(&releasing.transaction, posted()).transaction;
    let failure = failed.failure.expect("a failed transaction says why");
    assert_eq!(failure.reason, FailureReason::ProviderDeclined);
}

/// Money that the provider has taken is never dropped: what the ledger will
/// not take, or what is not the amount, goes to a person.
#[test]
fn taken_money_that_cannot_be_posted_needs_a_person() {
    let asking = turn(&initiated(deposit()), Input::Resume(None)).transaction;
    let settling = turn(&asking, Input::Asked(Asked::Answered(succeeded(100))));
    assert_eq!(posting_kind(&settling), Some(PostingKind::Deposit));
    let refused = Input::Refused {
        refusal: Refusal {
            reason: RefusalReason::WalletClosed,
            side: Side::Payee,
        },
        sole_attempt: true,
    };
    let review = turn(&settling.transaction, refused).transaction;
    assert_eq!(review.state, State::ManualReview);
    assert!(review.review_cause.is_some());

    let other_amount = turn(&asking, Input::Asked(Asked::Answered(succeeded(101))));
    assert_eq!(other_amount.transaction.state, State::ManualReview);
    let dollars = Answer::Succeeded {
        reference: "ch_1".to_owned(),
        amount: Money::new(Currency::parse("USD").expect("a currency"), 100),
    };
    let other_currency = turn(&asking, Input::Asked(Asked::Answered(dollars)));
    assert_eq!(other_currency.transaction.state, State::ManualReview);
}

/// A fault of ours in the ledger's eyes is never shown as the customer's.
#[test]
fn ledger_faults_need_a_person() {
    let review = turn(
        &initiated(transfer()),
        Input::Faulted(LedgerFault::Unbalanced),
    );
    assert_eq!(review.transaction.state, State::ManualReview);
    let event = review.events.last().expect("the review is an event");
    assert_eq!(event.kind(), "transaction.review_required");
}

/// An input that no command can have led to is refused and changes nothing.
#[test]
fn inputs_that_do_not_follow_are_refused() {
    let pending = initiated(transfer());
    let error = step(&pending, lost(), &TERMS, at(1)).expect_err("a transfer asks no provider");
    assert!(matches!(
        error,
        StepError::Unexpected {
            state: State::Pending,
            ..
        }
    ));
}

/// A log that does not start with the intent, or skips a turn, does not fold.
#[test]
fn damaged_logs_do_not_fold() {
    let id = initiated(transfer()).id;
    assert!(Transaction::fold(id, []).is_err());
    let unknown = Event::OutcomeUnknown {
        cause: "timeout".to_owned(),
    };
    assert!(Transaction::fold(id, [(unknown.clone(), at(0))]).is_err());
    assert!(initiated(transfer()).apply(&unknown, at(1)).is_err());
}

/// Checks double up to their cap, are spread, and never miss the window's end.
#[test]
fn checks_back_off() {
    let pending = initiated(transfer());
    let delay = |transaction: &Transaction, attempts, jitter| {
        next_check_in(transaction, attempts, jitter, &TERMS, at(10))
    };
    assert_eq!(delay(&pending, 0, 1000), Duration::from_secs(1));
    assert_eq!(delay(&pending, 2, 1000), Duration::from_secs(4));
    assert_eq!(delay(&pending, 99, 1250), Duration::from_millis(12_500));
    let unknown = turn(&asked_withdrawal(), lost()).transaction;
    assert!(delay(&unknown, 99, 1000) < Duration::from_secs(52));
    let long_after = next_check_in(&unknown, 99, 1000, &TERMS, at(1000));
    assert_eq!(long_after, Duration::from_secs(60));
}
