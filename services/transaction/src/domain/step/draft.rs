//! A step in the making: the turns of the state machine.

use time::OffsetDateTime;

use super::super::{Event, Failure, MovementKind, Refusal, State, Transaction};
use super::{Answer, Asked, Command, Looked, Note, Posted, Step, StepError, Terms};

/// A step in the making.
pub(super) struct Draft<'a> {
    transaction: Transaction,
    events: Vec<Event>,
    terms: &'a Terms,
    now: OffsetDateTime,
}

impl<'a> Draft<'a> {
    pub(super) fn new(transaction: &Transaction, terms: &'a Terms, now: OffsetDateTime) -> Self {
        Self {
            transaction: transaction.clone(),
            events: Vec::new(),
            terms,
            now,
        }
    }

    pub(super) fn resume(self, note: Option<Note>) -> Result<Step, StepError> {
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

    pub(super) fn posted(self, posted: Posted) -> Result<Step, StepError> {
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
    pub(super) fn refused(self, refusal: Refusal, sole_attempt: bool) -> Result<Step, StepError> {
        if self.transaction.state != State::Pending {
            return self.review(&refusal.failure().message);
        }
        if sole_attempt {
            self.fail(refusal.failure())
        } else {
            self.bar(refusal)
        }
    }

    pub(super) fn asked(self, asked: Asked) -> Result<Step, StepError> {
        match (self.transaction.state, asked) {
            (State::Processing, Asked::Answered(answer)) => self.answered(answer),
            (State::Processing, Asked::NotSent) => Ok(self.rest(Some(Note::Unsent))),
            (State::Processing, Asked::Lost { cause }) => {
                Ok(self.record(Event::OutcomeUnknown { cause })?.rest(None))
            }
            (_, Asked::Answered(_) | Asked::NotSent | Asked::Lost { .. }) => Err(self.unexpected()),
        }
    }

    pub(super) fn looked(self, looked: Looked) -> Result<Step, StepError> {
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

    pub(super) fn post_opening(self) -> Result<Step, StepError> {
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

    pub(super) fn fail(self, failure: Failure) -> Result<Step, StepError> {
        Ok(self.record(Event::Failed(failure))?.rest(None))
    }

    pub(super) fn review(self, cause: &str) -> Result<Step, StepError> {
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

    pub(super) fn rest(self, note: Option<Note>) -> Step {
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
