//! The state machine: from what has been learnt to events and the next command.
//!
//! `step` never fails for what the outside world can do. Its only error is an
//! input that cannot follow from the command that was given, which is a fault
//! of the shell and changes nothing.

mod draft;

use std::time::Duration;

use bursar_aip::id::{UserId, WalletId};
use bursar_money::Money;
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    Event, LedgerFault, MovementKind, Posting, Refusal, State, Transaction, TransitionError,
    Verdict,
};
pub(super) use draft::Draft;

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
    Barred(Verdict),
    /// The opening posting's id was taken already, by the posting itself.
    BarredTooLate,
    /// What the payer's wallet has available, in minor units; `None` when the
    /// ledger has not said.
    Measured(Option<i64>),
    /// The provider was asked to act.
    Asked(Asked),
    /// The provider was asked what it did.
    Looked(Looked),
    /// Fraud screening wants a person to decide before anything happens.
    Screened,
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
        /// What becomes final by it.
        verdict: Verdict,
    },
    /// See what a wallet has available.
    Measure(WalletId),
    /// Ask the provider to charge, pay out or refund, by the transaction's id.
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
    let draft = Draft::new(transaction, terms, now);
    match input {
        Input::Resume(note) => draft.resume(note),
        Input::Posted(posted) => draft.posted(posted),
        Input::Refused {
            refusal,
            sole_attempt,
        } => draft.refused(refusal, sole_attempt),
        Input::Faulted(fault) => draft.review(fault.cause()),
        Input::Unposted => Ok(draft.rest(None)),
        Input::Barred(verdict) => draft.barred(verdict),
        Input::BarredTooLate => draft.post_opening(),
        Input::Measured(available) => draft.measured(available),
        Input::Asked(asked) => draft.asked(asked),
        Input::Looked(looked) => draft.looked(looked),
        Input::Screened => draft.screened(),
    }
}

#[cfg(test)]
mod tests;
