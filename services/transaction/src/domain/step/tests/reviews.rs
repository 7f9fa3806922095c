//! What an operator may decide, and where it leads.

use super::super::super::{
    Answer, Asked, Command, Failure, Input, LedgerFault, Looked, Movement, PostingKind, Refusal,
    RefusalReason, Resolution, ResolveError, Resolved, Side, State, Step, Transaction, Verdict,
    decide_screened, resolve, step,
};
use super::cases::{asked_withdrawal, at, lost, posted, posting_kind, succeeded, turn, turn_at};
use super::{TERMS, deposit, initiated, transfer, user, withdrawal};

use Resolution::{Complete, Fail, Retry};

/// Long after every window has closed.
const LATE: u64 = 1000;

fn decide(transaction: &Transaction, resolution: Resolution) -> Result<Step, ResolveError> {
    let resolved = Resolved {
        resolution,
        reason: "the provider was asked".to_owned(),
        operator: user(),
    };
    resolve(transaction, resolved, &TERMS, at(LATE))
}

fn faulted(transaction: &Transaction) -> Transaction {
    let fault = Input::Faulted(LedgerFault::Unexplained);
    turn(transaction, fault).transaction
}

/// Stopped in each state from which a transaction can stop.
fn stopped(state: State) -> Transaction {
    let asked = asked_withdrawal();
    let transaction = match state {
        State::Pending => initiated(withdrawal()),
        State::Processing => {
            let reference = "po_1".to_owned();
            let accepted = Input::Asked(Asked::Answered(Answer::Accepted { reference }));
            turn(&asked, accepted).transaction
        }
        State::Unknown => turn(&asked, lost()).transaction,
        State::Settling => turn(&asked, Input::Asked(Asked::Answered(succeeded(100)))).transaction,
        State::Releasing => {
            let declined = Answer::Declined {
                reference: None,
                decline_code: "do_not_honor".to_owned(),
            };
            turn(&asked, Input::Asked(Asked::Answered(declined))).transaction
        }
        other => panic!("nothing stops in {other:?}"),
    };
    let review = faulted(&transaction);
    assert_eq!(
        (review.state, review.stopped_in),
        (State::ManualReview, Some(state))
    );
    review
}

/// The table of the module `review`, row by row.
#[test]
fn decisions_follow_the_table() {
    let rows = [
        (State::Pending, vec![Fail, Retry]),
        (State::Processing, vec![Complete, Fail, Retry]),
        (State::Unknown, vec![Complete, Fail, Retry]),
        (State::Settling, vec![Complete, Retry]),
        (State::Releasing, vec![Fail, Retry]),
    ];
    for (state, allowed) in rows {
        let review = stopped(state);
        assert_eq!(review.allowed_resolutions(&TERMS, at(LATE)), allowed);
        for resolution in Resolution::ALL {
            let decided = decide(&review, resolution);
            assert_eq!(decided.is_ok(), allowed.contains(&resolution), "{state:?}");
            if let Ok(step) = decided {
                assert_eq!(step.transaction.review_cause, None);
                assert_eq!(step.transaction.resolution, Some(resolution));
                assert_eq!(step.command, None);
            }
        }
    }
}

/// COMPLETE posts what the provider did; a bad turn there comes back to a person.
#[test]
fn complete_settles() {
    let settling = decide(&stopped(State::Unknown), Complete)
        .expect("allowed")
        .transaction;
    assert_eq!(settling.state, State::Settling);
    let posting = turn(&settling, Input::Resume(None));
    assert_eq!(posting_kind(&posting), Some(PostingKind::Capture));
    let done = turn(&settling, posted()).transaction;
    assert_eq!(done.state, State::Completed);
    let again = faulted(&settling);
    assert_eq!(again.state, State::ManualReview);
    assert_eq!(again.resolution, None, "the next decision is open");
}

/// FAIL gives back what was set aside and says whose word it was.
#[test]
fn fail_releases() {
    let releasing = decide(&stopped(State::Unknown), Fail)
        .expect("allowed")
        .transaction;
    let void = turn(&releasing, Input::Resume(None));
    assert_eq!(posting_kind(&void), Some(PostingKind::Void));
    let failed = turn(&releasing, posted()).transaction;
    assert_eq!(failed.failure, Some(Failure::resolved()));

    let asked = turn(&initiated(deposit()), Input::Resume(None)).transaction;
    let unknown = turn(&asked, lost()).transaction;
    let failed = decide(&unknown, Fail).expect("allowed");
    assert_eq!(failed.transaction.state, State::Failed);
    assert_eq!(failed.events.len(), 2, "nothing was set aside");
}

/// FAIL before anything is certain bars the posting first. If that comes too late,
/// what has happened counts: the transfer is done, the hold is given back.
#[test]
fn fail_of_a_pending_one_bars_first() {
    for movement in [transfer(), withdrawal()] {
        let review = faulted(&initiated(movement));
        let pending = decide(&review, Fail).expect("allowed").transaction;
        assert_eq!(pending.state, State::Pending);
        let barring = turn(&pending, Input::Resume(None));
        assert_eq!(posting_kind(&barring), Some(PostingKind::Bar));
        let barred = turn(&pending, Input::Barred(Verdict::Resolved)).transaction;
        assert_eq!(barred.failure, Some(Failure::resolved()));

        let too_late = turn(&pending, Input::BarredTooLate);
        let after = turn(&too_late.transaction, posted());
        match after.transaction.state {
            State::Completed => assert_eq!(after.command, None),
            State::Held => assert_eq!(posting_kind(&after), Some(PostingKind::Void)),
            other => panic!("{other:?}"),
        }
    }
}

/// RETRY goes on from where it stopped, and does not make an unknown outcome
/// any younger.
#[test]
fn retry_goes_on() {
    for (state, kind) in [
        (State::Pending, Some(PostingKind::Place)),
        (State::Processing, None),
        (State::Settling, Some(PostingKind::Capture)),
        (State::Releasing, Some(PostingKind::Void)),
    ] {
        let retried = decide(&stopped(state), Retry).expect("allowed").transaction;
        assert_eq!(retried.state, state);
        let next = turn(&retried, Input::Resume(None));
        assert_eq!(posting_kind(&next), kind);
        if kind.is_none() {
            assert_eq!(next.command, Some(Command::Look));
        }
    }
    let unknown = turn(&asked_withdrawal(), lost()).transaction;
    let retried = decide(&unknown, Retry).expect("allowed").transaction;
    assert_eq!(retried.unknown_since, unknown.unknown_since);
    let found = turn(&retried, Input::Looked(Looked::Found(succeeded(100))));
    assert_eq!(found.transaction.state, State::Settling);
}

/// While a request may still reach the provider nobody may say that it never will.
#[test]
fn fail_waits_for_the_window() {
    let unknown = turn(&asked_withdrawal(), lost()).transaction;
    let resolved = || Resolved {
        resolution: Fail,
        reason: "too eager".to_owned(),
        operator: user(),
    };
    let early = resolve(&unknown, resolved(), &TERMS, at(60));
    assert_eq!(early, Err(ResolveError::TooEarly));
    assert!(resolve(&unknown, resolved(), &TERMS, at(61)).is_ok());
}

/// What does not wait for a person cannot be decided by one.
#[test]
fn nobody_decides_what_goes_on_by_itself() {
    let done = turn(&initiated(transfer()), posted()).transaction;
    for transaction in [initiated(transfer()), asked_withdrawal(), done] {
        let state = transaction.state;
        assert_eq!(
            decide(&transaction, Retry),
            Err(ResolveError::NotInReview { state })
        );
        assert!(transaction.allowed_resolutions(&TERMS, at(LATE)).is_empty());
    }
    let refused = Input::Refused {
        refusal: Refusal {
            reason: RefusalReason::WalletClosed,
            side: Side::Payee,
        },
        sole_attempt: true,
    };
    let asking = turn(&initiated(deposit()), Input::Resume(None)).transaction;
    let answer = Input::Asked(Asked::Answered(succeeded(100)));
    let taken = turn_at(&asking, answer, 2).transaction;
    let review = turn_at(&taken, refused, 2).transaction;
    assert_eq!(
        decide(&review, Fail),
        Err(ResolveError::NotAllowed {
            resolution: Fail,
            stopped_in: State::Settling
        }),
        "the provider has the money"
    );
}

fn screened(movement: Movement) -> Transaction {
    turn(&initiated(movement), Input::Screened).transaction
}

fn judge(transaction: &Transaction, is_approved: bool) -> Result<Step, ResolveError> {
    let reason = "the customer was asked".to_owned();
    decide_screened(transaction, is_approved, reason, user(), at(LATE))
}

/// What screening has stopped rests before anything is done; approved it goes on from
/// its beginning, rejected it is at its end, and nothing is posted for it.
#[test]
fn what_was_screened_is_decided_by_its_case() {
    for movement in [transfer(), withdrawal(), deposit()] {
        let begun = initiated(movement.clone());
        let stopped = turn(&begun, Input::Screened);
        assert_eq!(stopped.command, None);
        let stopped = stopped.transaction;
        assert_eq!(stopped.stopped_in, Some(State::Pending));
        assert!(stopped.is_screened());

        let rejected = judge(&stopped, false).expect("it waits").transaction;
        assert_eq!(rejected.state, State::Failed);
        assert_eq!(rejected.failure, Some(Failure::rejected()));

        let approved = judge(&stopped, true).expect("it waits").transaction;
        assert_eq!(approved.state, State::Pending);
        // However old it is by now, it is posted or sent as if it were new.
        let next = turn_at(&approved, Input::Resume(None), LATE);
        let fresh = turn(&begun, Input::Resume(None));
        assert_eq!(next.command, fresh.command);
    }
}

/// An approved withdrawal is sent to its provider however long the decision took, and
/// is given up like any other when it waits too long after it.
#[test]
fn an_approved_withdrawal_is_not_too_old() {
    let approved = judge(&screened(withdrawal()), true).expect("it waits");
    let held = turn_at(&approved.transaction, posted(), LATE);
    assert_eq!(held.command, Some(Command::Ask));
    let waited = TERMS.give_up_after.as_secs();
    let late = turn_at(&approved.transaction, posted(), LATE + waited);
    assert_eq!(posting_kind(&late), Some(PostingKind::Void));
}

/// The general decision does not go past the case, the case decides nothing else, and
/// only what has done nothing can be stopped.
#[test]
fn neither_decision_stands_for_the_other() {
    let stopped = screened(withdrawal());
    for resolution in Resolution::ALL {
        assert_eq!(decide(&stopped, resolution), Err(ResolveError::Screened));
    }
    assert_eq!(stopped.allowed_resolutions(&TERMS, at(LATE)), []);
    let other = faulted(&initiated(withdrawal()));
    for transaction in [other, initiated(withdrawal()), asked_withdrawal()] {
        let refused = judge(&transaction, true);
        assert!(matches!(refused, Err(ResolveError::NotInReview { .. })));
    }
    let decided = judge(&stopped, true).expect("it waits").transaction;
    assert!(judge(&decided, true).is_err(), "it is decided once");
    assert!(step(&asked_withdrawal(), Input::Screened, &TERMS, at(1)).is_err());
}
