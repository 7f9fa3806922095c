//! What an operator may decide about a transaction that waits for a person, and
//! where it goes on then. Nothing is posted or asked here: the decision is an
//! event, and the machine goes on from the state that the event leads to.
//!
//! | stopped in | COMPLETE | FAIL | RETRY |
//! |---|---|---|---|
//! | PENDING    | no  | PENDING: the posting is barred, then FAILED | PENDING |
//! | HELD       | no  | RELEASING | HELD |
//! | PROCESSING | SETTLING | RELEASING, after the provider's window | PROCESSING |
//! | UNKNOWN    | SETTLING | RELEASING, after the provider's window | UNKNOWN |
//! | SETTLING   | SETTLING | no  | SETTLING |
//! | RELEASING  | no  | RELEASING | RELEASING |
//!
//! COMPLETE and FAIL say what the provider did, which only a person could find
//! out. So neither is possible where the provider has already said the
//! opposite, and FAIL not while a request may still reach it: the hold would be
//! void, and the money paid out all the same. Where nothing but the ledger is
//! concerned, COMPLETE has no meaning: RETRY posts.
//!
//! What fraud screening has stopped is decided by its case ([`decide_screened`]) and
//! by nothing else, so that no decision goes past the case.

use std::time::Duration;

use bursar_aip::id::UserId;
use thiserror::Error;
use time::OffsetDateTime;

use super::step::Draft;
use super::{Event, Flow, Resolved, State, Step, StepError, Terms, Transaction};

/// The cause of a review that fraud screening asks for.
pub(super) const SCREENING: &str = "screening";

/// How an operator lets a transaction go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The provider has moved the money.
    Complete,
    /// The provider has not moved the money and never will.
    Fail,
    /// It goes on from where it stopped.
    Retry,
}

/// Why a decision is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// It does not wait for a person.
    #[error("the transaction is {}, not waiting for a person", state.name())]
    NotInReview {
        /// Its state.
        state: State,
    },
    /// The decision is not possible from where it stopped.
    #[error("{} is not possible for what stopped in {}", resolution.name(), stopped_in.name())]
    NotAllowed {
        /// The decision.
        resolution: Resolution,
        /// Where it stopped.
        stopped_in: State,
    },
    /// The provider may still come to know the request.
    #[error("a request may still reach the provider; FAIL is possible once its window has closed")]
    TooEarly,
    /// Fraud screening has stopped it.
    #[error("the transaction was stopped by fraud screening; decide its case")]
    Screened,
    /// The events do not fit, which is a fault of this code.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl Resolution {
    /// Every resolution.
    pub const ALL: [Self; 3] = [Self::Complete, Self::Fail, Self::Retry];

    /// The name in the contract, in the database and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
            Self::Retry => "RETRY",
        }
    }

    /// The resolution of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|resolution| resolution.name() == name)
    }
}

/// Takes a decision in: the step has its events and no command, because whoever
/// claims the transaction next goes on from there.
pub fn resolve(
    transaction: &Transaction,
    resolved: Resolved,
    terms: &Terms,
    now: OffsetDateTime,
) -> Result<Step, ResolveError> {
    transaction.check_resolution(resolved.resolution, terms, now)?;
    let draft = Draft::new(transaction, terms, now);
    Ok(draft.resolved(Event::ReviewResolved(resolved))?)
}

/// Takes the decision about a fraud case in: approved, the transaction goes on from
/// its beginning; rejected, it is at its end.
pub fn decide_screened(
    transaction: &Transaction,
    is_approved: bool,
    reason: String,
    operator: UserId,
    now: OffsetDateTime,
) -> Result<Step, ResolveError> {
    if !transaction.is_screened() {
        return Err(ResolveError::NotInReview {
            state: transaction.state,
        });
    }
    let resolved = |resolution| {
        Event::ReviewResolved(Resolved {
            resolution,
            reason,
            operator,
        })
    };
    // Nothing here depends on what was agreed with a provider.
    let terms = Terms {
        lookup_window: Duration::ZERO,
        give_up_after: Duration::MAX,
    };
    let draft = Draft::new(transaction, &terms, now);
    Ok(if is_approved {
        draft.resolved(resolved(Resolution::Retry))?
    } else {
        draft.rejected(resolved(Resolution::Fail))?
    })
}

impl Transaction {
    /// Whether fraud screening has stopped it, and a person has not decided yet.
    pub fn is_screened(&self) -> bool {
        self.state == State::ManualReview && self.review_cause.as_deref() == Some(SCREENING)
    }

    /// The state in which it stopped, if it waits for a person or may be helped
    /// by one.
    pub fn stopped(&self) -> Option<State> {
        match self.state {
            State::ManualReview => self.stopped_in,
            State::Unknown => Some(State::Unknown),
            State::Pending
            | State::Held
            | State::Processing
            | State::Settling
            | State::Releasing
            | State::Completed
            | State::Failed => None,
        }
    }

    /// What may be decided about it now.
    pub fn allowed_resolutions(&self, terms: &Terms, now: OffsetDateTime) -> Vec<Resolution> {
        Resolution::ALL
            .into_iter()
            .filter(|resolution| self.check_resolution(*resolution, terms, now).is_ok())
            .collect()
    }

    fn check_resolution(
        &self,
        resolution: Resolution,
        terms: &Terms,
        now: OffsetDateTime,
    ) -> Result<(), ResolveError> {
        let stopped_in = self
            .stopped()
            .ok_or(ResolveError::NotInReview { state: self.state })?;
        if self.is_screened() {
            return Err(ResolveError::Screened);
        }
        if self.after_resolution(resolution).is_none() {
            return Err(ResolveError::NotAllowed {
                resolution,
                stopped_in,
            });
        }
        let was_asked = matches!(stopped_in, State::Processing | State::Unknown);
        let may_arrive = self
            .window_closes_in(terms, now)
            .is_some_and(|left| !left.is_zero());
        if resolution == Resolution::Fail && was_asked && may_arrive {
            return Err(ResolveError::TooEarly);
        }
        Ok(())
    }

    /// Where a decision leads; `None` when it is not possible.
    pub(super) fn after_resolution(&self, resolution: Resolution) -> Option<State> {
        use State::{Held, Pending, Processing, Releasing, Settling, Unknown};
        let has_provider = self.movement.flow() != Flow::Between;
        match (resolution, self.stopped()?) {
            (Resolution::Retry, stopped_in) => Some(stopped_in),
            (Resolution::Complete, Processing | Unknown | Settling) if has_provider => {
                Some(Settling)
            }
            (Resolution::Fail, Pending) => Some(Pending),
            (Resolution::Fail, Held | Processing | Unknown | Releasing) => Some(Releasing),
            (Resolution::Complete | Resolution::Fail, _) => None,
        }
    }
}
