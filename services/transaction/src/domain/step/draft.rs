//! A step in the making: the turns of the state machine.

use time::OffsetDateTime;

use super::super::refund::Shortfall;
use super::super::review::SCREENING;
use super::super::{
    Event, Failure, Flow, MovementKind, Refusal, Resolution, State, Transaction, Verdict,
};
use super::{Answer, Asked, Command, Looked, Note, Posted, Step, StepError, Terms};

/// A step in the making.
pub(in super::super) struct Draft<'a> {
    transaction: Transaction,
    events: Vec<Event>,
    terms: &'a Terms,
    now: OffsetDateTime,
}

impl<'a> Draft<'a> {
    pub(in super::super) fn new(
        transaction: &Transaction,
        terms: &'a Terms,
        now: OffsetDateTime,
    ) -> Self {
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
            (State::Pending, _) if self.is_given_up() => self.bar(Verdict::Resolved),
            (State::Pending, Some(Note::Refused(refusal))) => self.bar(Verdict::Refused(refusal)),
            (State::Pending, Some(Note::Unsent) | None) => self.open(),
            (State::Held, _) | (State::Processing, Some(Note::Unsent)) => self.ask(),
            (State::Processing, Some(Note::Refused(_)) | None) | (State::Unknown, _) => {
                Ok(self.run(Command::Look))
            }
            (State::Settling, _) => self.settle(),
            (State::Releasing, _) => self.release(),
        }
    }

    pub(super) fn posted(self, posted: Posted) -> Result<Step, StepError> {
        match (self.transaction.state, self.flow()) {
            (State::Pending, Flow::Between) | (State::Settling, Flow::In | Flow::Out) => {
                let completed = Event::Completed {
                    beneficiary: posted.beneficiary,
                    posted_at: posted.recorded_at,
                };
                Ok(self.record(completed)?.rest(None))
            }
            (State::Pending, Flow::Out) => {
                let hold = self.transaction.hold_id();
                self.record(Event::FundsHeld { hold })?.ask()
            }
            // The hold was given back.
            (State::Held | State::Processing | State::Unknown | State::Releasing, Flow::Out) => {
                self.end_without_effect()
            }
            (_, Flow::Between | Flow::In | Flow::Out) => Err(self.unexpected()),
        }
    }

    /// A refusal before anything has moved fails the transaction, once it is
    /// certain that no other attempt can be applied; after that, money is with
    /// a provider or set aside, and a person has to look.
    pub(super) fn refused(self, refusal: Refusal, sole_attempt: bool) -> Result<Step, StepError> {
        if self.transaction.state != State::Pending {
            return self.review(&refusal.failure().message);
        }
        let verdict = Verdict::Refused(refusal);
        if sole_attempt {
            self.barred(verdict)
        } else {
            self.bar(verdict)
        }
    }

    /// The opening posting will never happen. What follows from a shortfall that
    /// the platform covers is in the module [`refund`](super::super::refund).
    pub(super) fn barred(self, verdict: Verdict) -> Result<Step, StepError> {
        if self.transaction.state != State::Pending {
            return Err(self.unexpected());
        }
        let refusal = match verdict {
            Verdict::Refused(refusal) => refusal,
            Verdict::Resolved => return self.fail(Failure::resolved()),
        };
        match (
            self.transaction.shortfall(refusal),
            self.transaction.movement.from_wallet(),
        ) {
            (Some(Shortfall::Measure), Some(wallet)) => Ok(self.run(Command::Measure(wallet))),
            (Some(Shortfall::PayNothing), _) => self.share(0),
            (Some(Shortfall::Measure), None) | (None, _) => self.fail(refusal.failure()),
        }
    }

    /// What is not known is measured again, after the refusal has come again.
    pub(super) fn measured(self, available: Option<i64>) -> Result<Step, StepError> {
        match available {
            Some(available) => {
                let amount = self.transaction.amount.minor();
                self.share(available.clamp(0, amount))
            }
            None => Ok(self.rest(None)),
        }
    }

    fn share(self, wallet_minor: i64) -> Result<Step, StepError> {
        let attempt = self.transaction.shares();
        let found = Event::ShortfallFound {
            attempt,
            wallet_minor,
        };
        self.record(found)?.open()
    }

    /// Only what has done nothing yet can be stopped: a decision about it is then
    /// all that there is to say.
    pub(super) fn screened(self) -> Result<Step, StepError> {
        if self.transaction.state != State::Pending || self.transaction.version != 1 {
            return Err(self.unexpected());
        }
        self.review(SCREENING)
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
        self.release()
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
                declined.release()
            }
        }
    }

    /// Asks the provider to act, unless the transaction has waited so long for
    /// it that nobody expects it any more. What a person had to approve first waits
    /// since then. Only called when nothing was sent.
    fn ask(self) -> Result<Step, StepError> {
        let transaction = &self.transaction;
        let waited = self.now - transaction.expected_since();
        if waited >= self.terms.give_up_after || self.is_given_up() {
            return self.release();
        }
        let Some(provider) = self.transaction.movement.provider().cloned() else {
            return Err(self.unexpected());
        };
        let attempt = self.transaction.provider_requests;
        let requested = Event::ProviderRequested { provider, attempt };
        Ok(self.record(requested)?.run(Command::Ask))
    }

    /// Fails what has given back everything, or never had anything.
    fn end_without_effect(self) -> Result<Step, StepError> {
        let failure = if self.is_given_up() {
            Failure::resolved()
        } else if self.transaction.state == State::Releasing {
            Failure::declined()
        } else {
            Failure::never_received()
        };
        self.fail(failure)
    }

    /// An operator has decided; the transaction may be at its end by that.
    pub(in super::super) fn resolved(self, event: Event) -> Result<Step, StepError> {
        let resolved = self.record(event)?;
        let ends =
            resolved.transaction.state == State::Releasing && resolved.transaction.hold.is_none();
        if ends {
            return resolved.end_without_effect();
        }
        Ok(resolved.rest(None))
    }

    /// A person has rejected what screening had stopped. Nothing was ever posted or
    /// sent, so there is nothing to bar and nothing to give back.
    pub(in super::super) fn rejected(self, event: Event) -> Result<Step, StepError> {
        self.record(event)?.fail(Failure::rejected())
    }

    /// Whether an operator has said that it is to fail.
    fn is_given_up(&self) -> bool {
        self.transaction.resolution == Some(Resolution::Fail)
    }

    /// The first thing that a transaction does to the world.
    fn open(self) -> Result<Step, StepError> {
        match self.transaction.opening_posting() {
            Some(posting) => Ok(self.run(Command::Post(posting))),
            None => self.ask(),
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

    /// Ends a transaction of which the provider certainly has nothing: gives back what
    /// was set aside, if anything was, and fails then.
    fn release(self) -> Result<Step, StepError> {
        match self.transaction.release_posting() {
            Some(posting) => Ok(self.run(Command::Post(posting))),
            None => self.end_without_effect(),
        }
    }

    fn bar(self, verdict: Verdict) -> Result<Step, StepError> {
        let note = match verdict {
            Verdict::Refused(refusal) => Some(Note::Refused(refusal)),
            // The event says so.
            Verdict::Resolved => None,
        };
        match self.transaction.barring_posting() {
            Some(posting) => Ok(Step {
                note,
                ..self.run(Command::Bar { posting, verdict })
            }),
            // Nothing was ever to be posted, and nobody was asked yet.
            None => self.barred(verdict),
        }
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

    fn flow(&self) -> Flow {
        self.transaction.movement.flow()
    }

    fn unexpected(&self) -> StepError {
        StepError::Unexpected {
            kind: self.kind(),
            state: self.transaction.state,
        }
    }
}
