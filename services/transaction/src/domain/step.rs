//! The state machine: from what has been learnt to events and the next command.
//!
//! `step` never fails for what the outside world can do. Its only error is an
//! input that cannot follow from the command that was given, which is a fault
//! of the shell and changes nothing.

use std::time::Duration;

use bursar_aip::id::UserId;
use bursar_money::Money;
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    Event, Failure, LedgerFault, MovementKind, Posting, Refusal, State, Transaction,
    TransitionError,
};

/// The agreed terms of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long after it was asked the provider may still say "not found" about
    /// a request that it will come to know; its documented window.
    pub lookup_window: Duration,
    /// How long a transaction may wait to be sent to the provider at all. After
    /// it, one of which nothing was ever sent fails.
    pub give_up_after: Duration,
}

/// What has been learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing new: go on from where the transaction is, with what an earlier
    /// run noted.
    Resume(Option<Note>),
    /// The ledger has applied the posting.
    Posted(Posted),
    /// The ledger has refused the posting.
    Refused {
        /// Why.
        refusal: Refusal,
        /// True when no other attempt of the same posting can still arrive.
        sole_attempt: bool,
    },
    /// The ledger has refused a posting that should never have been sent.
    Faulted(LedgerFault),
    /// The ledger has not answered.
    Unposted,
    /// The opening posting's id is taken: it can never be applied.
    Barred(Refusal),
    /// The opening posting's id was taken already, by the posting itself.
    BarredTooLate,
    /// The provider was asked to act.
    Asked(Asked),
    /// The provider was asked what it did.
    Looked(Looked),
}

/// What the ledger says of a posting that it applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
    /// The owner of the wallet that the money reached; `None` for the platform's own.
    pub beneficiary: Option<UserId>,
}

/// A definite answer of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It will be done later.
    Accepted {
        /// The provider's own id for it.
        reference: String,
    },
    /// It is done.
    Succeeded {
        /// The provider's own id for it.
        reference: String,
        /// How much the provider moved.
        amount: Money,
    },
    /// It will not be done.
    Declined {
        /// The provider's own id for it, when it has one.
        reference: Option<String>,
        /// The provider's word for why.
        decline_code: String,
    },
}

/// What became of asking the provider to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It answered.
    Answered(Answer),
    /// The request was certainly not sent.
    NotSent,
    /// The request was sent, or may have been, and no answer is known.
    Lost {
        /// What was seen instead, such as `timeout`.
        cause: String,
    },
}

/// What became of asking the provider what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It knows the request.
    Found(Answer),
    /// It does not know the request (yet).
    NotFound,
    /// It did not answer.
    Unanswered,
}

/// What a run leaves to the next one beside the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The provider was about to be asked, and certainly nothing was sent.
    Unsent,
    /// The ledger refused an attempt of the opening posting while another may
    /// still arrive; its id is to be barred.
    Refused(Refusal),
}

/// What is to be done next. Each may be repeated without a second effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Post to the ledger.
    Post(Posting),
    /// Take the opening posting's id with a posting that moves nothing.
    Bar {
        /// The posting that moves nothing.
        posting: Posting,
        /// The refusal that becomes final by it.
        refusal: Refusal,
    },
    /// Ask the provider to charge or to pay out, by the transaction's id.
    Ask,
    /// Ask the provider what it did about the transaction's id.
    Look,
}

/// The outcome of [`step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The transaction with the events taken in.
    pub transaction: Transaction,
    /// The events to append, in order.
    pub events: Vec<Event>,
    /// What to note with the events, before the command runs. Without events
    /// and without a note, an earlier note stays.
    pub note: Option<Note>,
    /// What to do next; `None` to rest until the next check.
    pub command: Option<Command>,
}

/// The input does not follow from the command that was given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StepError {
    /// The input does not fit the state.
    #[error("the input does not fit a {} in the state {}", kind.name(), state.name())]
    Unexpected {
        /// The kind of transaction.
        kind: MovementKind,
        /// The state.
        state: State,
    },
    /// The events do not fit the state.
    #[error(transparent)]
    Transition(#[from] TransitionError),
}

/// Decides what an input makes of a transaction at `now`.
pub fn step(
    transaction: &Transaction,
    input: Input,
    terms: &Terms,
    now: OffsetDateTime,
) -> Result<Step, StepError> {
    let draft = Draft {
        transaction: transaction.clone(),
        events: Vec::new(),
        terms,
        now,
    };
    match input {
        Input::Resume(note) => draft.resume(note),
        Input::Posted(posted) => draft.posted(posted),
        Input::Refused {
            refusal,
            sole_attempt,
        } => draft.refused(refusal, sole_attempt),
        Input::Faulted(fault) => draft.review(fault.cause()),
        Input::Unposted => Ok(draft.rest(None)),
        Input::Barred(refusal) => draft.fail(refusal.failure()),
        Input::BarredTooLate => draft.post_opening(),
        Input::Asked(asked) => draft.asked(asked),
        Input::Looked(looked) => draft.looked(looked),
    }
}

/// A step in the making.
struct Draft<'a> {
    transaction: Transaction,
    events: Vec<Event>,
    terms: &'a Terms,
    now: OffsetDateTime,
}

impl Draft<'_> {
    fn resume(self, note: Option<Note>) -> Result<Step, StepError> {
        match (self.transaction.state, note) {
            (State::Completed | State::Failed | State::ManualReview, _) => Ok(self.rest(None)),
            (State::Pending, Some(Note::Refused(refusal))) => self.bar(refusal),
            (State::Pending, Some(Note::Unsent) | None) => match self.kind() {
                MovementKind::Transfer | MovementKind::Withdrawal => self.post_opening(),
                MovementKind::Deposit => self.ask(),
            },
            (State::Held, _) | (State::Processing, Some(Note::Unsent)) => self.ask(),
            (State::Processing, Some(Note::Refused(_)) | None) | (State::Unknown, _) => {
                Ok(self.run(Command::Look))
            }
            (State::Settling, _) => self.settle(),
            (State::Releasing, _) => self.release(),
        }
    }

    fn posted(self, posted: Posted) -> Result<Step, StepError> {
        match (self.transaction.state, self.kind()) {
            (State::Pending, MovementKind::Transfer)
            | (State::Settling, MovementKind::Deposit | MovementKind::Withdrawal) => {
                let completed = Event::Completed {
                    beneficiary: posted.beneficiary,
                    posted_at: posted.recorded_at,
                };
                Ok(self.record(completed)?.rest(None))
            }
            (State::Pending, MovementKind::Withdrawal) => {
                let hold = self.transaction.hold_id();
                self.record(Event::FundsHeld { hold })?.ask()
            }
            (State::Releasing, MovementKind::Withdrawal) => self.fail(Failure::declined()),
            // The hold was given back because the provider never had the request.
            (State::Held | State::Processing | State::Unknown, MovementKind::Withdrawal) => {
                self.fail(Failure::never_received())
            }
            (_, MovementKind::Transfer | MovementKind::Deposit | MovementKind::Withdrawal) => {
                Err(self.unexpected())
            }
        }
    }

    /// A refusal before anything has moved fails the transaction, once it is
    /// certain that no other attempt can be applied; after that, money is with
    /// a provider or set aside, and a person has to look.
    fn refused(self, refusal: Refusal, sole_attempt: bool) -> Result<Step, StepError> {
        if self.transaction.state != State::Pending {
            return self.review(&refusal.failure().message);
        }
        if sole_attempt {
            self.fail(refusal.failure())
        } else {
            self.bar(refusal)
        }
    }

    fn asked(self, asked: Asked) -> Result<Step, StepError> {
        match (self.transaction.state, asked) {
            (State::Processing, Asked::Answered(answer)) => self.answered(answer),
            (State::Processing, Asked::NotSent) => Ok(self.rest(Some(Note::Unsent))),
            (State::Processing, Asked::Lost { cause }) => {
                Ok(self.record(Event::OutcomeUnknown { cause })?.rest(None))
            }
            (_, Asked::Answered(_) | Asked::NotSent | Asked::Lost { .. }) => Err(self.unexpected()),
        }
    }

    fn looked(self, looked: Looked) -> Result<Step, StepError> {
        if !matches!(self.transaction.state, State::Processing | State::Unknown) {
            return Err(self.unexpected());
        }
        match looked {
            Looked::Found(answer) => self.answered(answer),
            Looked::NotFound => self.not_found(),
            Looked::Unanswered => self.still_not_known(),
        }
    }

    fn not_found(self) -> Result<Step, StepError> {
        let window = self.transaction.window_closes_in(self.terms, self.now);
        if !window.is_some_and(|left| left.is_zero()) {
            return self.still_not_known();
        }
        if self.transaction.is_accepted() {
            return self.review("the provider no longer knows a request that it had accepted");
        }
        self.abandon()
    }

    /// A run was cut short between asking and answering: from outside that is
    /// the same as an answer that was lost.
    fn still_not_known(self) -> Result<Step, StepError> {
        if self.transaction.state == State::Processing && !self.transaction.is_accepted() {
            let cause = "interrupted".to_owned();
            return Ok(self.record(Event::OutcomeUnknown { cause })?.rest(None));
        }
        Ok(self.rest(None))
    }

    fn answered(self, answer: Answer) -> Result<Step, StepError> {
        match answer {
            Answer::Accepted { reference } => {
                let known =
                    self.transaction.state == State::Processing && self.transaction.is_accepted();
                if known {
                    return Ok(self.rest(None));
                }
                Ok(self
                    .record(Event::ProviderAccepted { reference })?
                    .rest(None))
            }
            Answer::Succeeded { amount, .. } if amount != self.transaction.amount.money() => {
                self.review("the provider moved another amount than it was asked for")
            }
            Answer::Succeeded { reference, .. } => self
                .record(Event::ProviderSucceeded { reference })?
                .settle(),
            Answer::Declined {
                reference,
                decline_code,
            } => {
                let declined = self.record(Event::ProviderDeclined {
                    reference,
                    decline_code,
                })?;
                match declined.kind() {
                    MovementKind::Withdrawal => declined.release(),
                    MovementKind::Deposit | MovementKind::Transfer => {
                        declined.fail(Failure::declined())
                    }
                }
            }
        }
    }

    /// Asks the provider to act, unless the transaction has waited so long for
    /// it that nobody expects it any more. Only called when nothing was sent.
    fn ask(self) -> Result<Step, StepError> {
        if self.now - self.transaction.created_at >= self.terms.give_up_after {
            return self.abandon();
        }
        let Some(provider) = self.transaction.movement.provider().cloned() else {
            return Err(self.unexpected());
        };
        let attempt = self.transaction.provider_requests;
        let requested = Event::ProviderRequested { provider, attempt };
        Ok(self.record(requested)?.run(Command::Ask))
    }

    /// Ends a transaction of which the provider certainly has nothing.
    fn abandon(self) -> Result<Step, StepError> {
        match self.kind() {
            MovementKind::Withdrawal => self.release(),
            MovementKind::Deposit | MovementKind::Transfer => self.fail(Failure::never_received()),
        }
    }

    fn post_opening(self) -> Result<Step, StepError> {
        match self.transaction.opening_posting() {
            Some(posting) if self.transaction.state == State::Pending => {
                Ok(self.run(Command::Post(posting)))
            }
            Some(_) | None => Err(self.unexpected()),
        }
    }

    fn settle(self) -> Result<Step, StepError> {
        match self.transaction.settlement_posting() {
            Some(posting) => Ok(self.run(Command::Post(posting))),
            None => Err(self.unexpected()),
        }
    }

    fn release(self) -> Result<Step, StepError> {
        match self.transaction.release_posting() {
            Some(posting) => Ok(self.run(Command::Post(posting))),
            None => Err(self.unexpected()),
        }
    }

    fn bar(self, refusal: Refusal) -> Result<Step, StepError> {
        let Some(posting) = self.transaction.barring_posting() else {
            return Err(self.unexpected());
        };
        let command = Command::Bar { posting, refusal };
        Ok(Step {
            note: Some(Note::Refused(refusal)),
            ..self.run(command)
        })
    }

    fn fail(self, failure: Failure) -> Result<Step, StepError> {
        Ok(self.record(Event::Failed(failure))?.rest(None))
    }

    fn review(self, cause: &str) -> Result<Step, StepError> {
        let cause = cause.to_owned();
        Ok(self.record(Event::ReviewRequired { cause })?.rest(None))
    }

    fn record(mut self, event: Event) -> Result<Self, StepError> {
        self.transaction.apply(&event, self.now)?;
        self.events.push(event);
        Ok(self)
    }

    fn run(self, command: Command) -> Step {
        Step {
            transaction: self.transaction,
            events: self.events,
            note: None,
            command: Some(command),
        }
    }

    fn rest(self, note: Option<Note>) -> Step {
        Step {
            transaction: self.transaction,
            events: self.events,
            note,
            command: None,
        }
    }

    fn kind(&self) -> MovementKind {
        self.transaction.movement.kind()
    }

    fn unexpected(&self) -> StepError {
        StepError::Unexpected {
            kind: self.kind(),
            state: self.transaction.state,
        }
    }
}

#[cfg(test)]
mod tests;
