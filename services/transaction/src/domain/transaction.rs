//! The aggregate: a transaction as the fold of its events.

use bursar_aip::id::{GrantId, HoldId, TransactionId, UserId};
use bursar_money::PositiveMoney;
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Back, Event, Failure, Flow, Initiated, Movement, Price, Resolution};

/// How far a transaction is. The names are the contract's `TransactionState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Recorded; nothing has happened yet.
    Pending,
    /// The money of a withdrawal or a refund is set aside.
    Held,
    /// The provider is being asked, or has accepted and not yet finished.
    Processing,
    /// The provider was asked and its answer is not known.
    Unknown,
    /// The provider has done its part; the ledger is being posted.
    Settling,
    /// The provider has refused; money set aside is being given back.
    Releasing,
    /// Done.
    Completed,
    /// Refused, and no money moved.
    Failed,
    /// It needs a person.
    ManualReview,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Held,
        Self::Processing,
        Self::Unknown,
        Self::Settling,
        Self::Releasing,
        Self::Completed,
        Self::Failed,
        Self::ManualReview,
    ];

    /// Whether nothing can happen to the transaction any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// Whether the service has nothing left to do by itself.
    pub fn is_at_rest(self) -> bool {
        self.is_terminal() || self == Self::ManualReview
    }

    /// The name in the database, in metrics and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Held => "HELD",
            Self::Processing => "PROCESSING",
            Self::Unknown => "UNKNOWN",
            Self::Settling => "SETTLING",
            Self::Releasing => "RELEASING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::ManualReview => "MANUAL_REVIEW",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A transaction as its events make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The id.
    pub id: TransactionId,
    /// What it does.
    pub movement: Movement,
    /// How much it moves.
    pub amount: PositiveMoney,
    /// What that costs, and what the money becomes on its way.
    pub price: Price,
    /// The user who asked for it.
    pub initiator: UserId,
    /// How far it is.
    pub state: State,
    /// The wallet's share of a refund for which it has not enough.
    pub share: Option<Share>,
    /// The hold of what goes to a provider, once it is placed.
    pub hold: Option<HoldId>,
    /// How often the provider was asked to act.
    pub provider_requests: u32,
    /// When the provider was last asked to act.
    pub provider_requested_at: Option<OffsetDateTime>,
    /// The provider's own id for its part, once it is known.
    pub provider_reference: Option<String>,
    /// The provider's word for why it refused.
    pub decline_code: Option<String>,
    /// Since when the provider's answer is not known; absent when it is.
    pub unknown_since: Option<OffsetDateTime>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Why it needs a person.
    pub review_cause: Option<String>,
    /// The state in which it stopped for a person.
    pub stopped_in: Option<State>,
    /// What a person last decided about it, unless it stopped again since.
    pub resolution: Option<Resolution>,
    /// When a person approved what fraud screening had stopped: from then on it is as
    /// old as if it had been recorded then.
    pub approved_at: Option<OffsetDateTime>,
    /// The user whose wallet the money reached.
    pub beneficiary: Option<UserId>,
    /// When the ledger recorded it.
    pub posted_at: Option<OffsetDateTime>,
    /// When it was recorded.
    pub created_at: OffsetDateTime,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
    /// How many events it has had.
    pub version: i64,
}

/// What a wallet pays of a refund when it has not got all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many shares were found, this one included. Each has a posting id of
    /// its own, because the one before it is barred.
    pub number: u32,
    /// What the wallet pays, in minor units: from 0 to the amount.
    pub wallet_minor: i64,
}

/// An event that cannot follow: the log is damaged, or the caller is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransitionError {
    /// The first event is not `transaction.initiated`, or there is none.
    #[error("a transaction starts with transaction.initiated")]
    NotInitiated,
    /// The event does not fit the state.
    #[error("{event} cannot follow in the state {}", state.name())]
    Illegal {
        /// The state.
        state: State,
        /// The event's kind.
        event: &'static str,
    },
}

impl Transaction {
    /// A transaction after its first event.
    pub fn initiate(id: TransactionId, initiated: Initiated, at: OffsetDateTime) -> Self {
        Self {
            id,
            movement: initiated.movement,
            amount: initiated.amount,
            price: initiated.price,
            initiator: initiated.initiator,
            state: State::Pending,
            share: None,
            hold: None,
            provider_requests: 0,
            provider_requested_at: None,
            provider_reference: None,
            decline_code: None,
            unknown_since: None,
            failure: None,
            review_cause: None,
            stopped_in: None,
            resolution: None,
            approved_at: None,
            beneficiary: None,
            posted_at: None,
            created_at: at,
            updated_at: at,
            version: 1,
        }
    }

    /// The fold of a whole log.
    pub fn fold<I>(id: TransactionId, events: I) -> Result<Self, TransitionError>
    where
        I: IntoIterator<Item = (Event, OffsetDateTime)>,
    {
        let mut events = events.into_iter();
        let Some((Event::Initiated(initiated), at)) = events.next() else {
            return Err(TransitionError::NotInitiated);
        };
        let mut transaction = Self::initiate(id, initiated, at);
        for (event, at) in events {
            transaction.apply(&event, at)?;
        }
        Ok(transaction)
    }

    /// Takes in one more event.
    pub fn apply(&mut self, event: &Event, at: OffsetDateTime) -> Result<(), TransitionError> {
        let next = self.after(event).ok_or(TransitionError::Illegal {
            state: self.state,
            event: event.kind(),
        })?;
        match event {
            Event::Initiated(_) => {}
            Event::ShortfallFound {
                attempt,
                wallet_minor,
            } => {
                self.share = Some(Share {
                    number: attempt.saturating_add(1),
                    wallet_minor: *wallet_minor,
                });
            }
            Event::FundsHeld { hold } => self.hold = Some(*hold),
            Event::ProviderRequested { attempt, .. } => {
                self.provider_requests = attempt.saturating_add(1);
                self.provider_requested_at = Some(at);
            }
            Event::ProviderAccepted { reference } | Event::ProviderSucceeded { reference } => {
                self.provider_reference = Some(reference.clone());
            }
            Event::ProviderDeclined {
                reference,
                decline_code,
            } => {
                if let Some(reference) = reference {
                    self.provider_reference = Some(reference.clone());
                }
                self.decline_code = Some(decline_code.clone());
            }
            Event::OutcomeUnknown { .. } => {}
            Event::Completed {
                beneficiary,
                posted_at,
            } => {
                self.beneficiary = *beneficiary;
                self.posted_at = Some(*posted_at);
            }
            Event::Failed(failure) => self.failure = Some(failure.clone()),
            Event::ReviewRequired { cause } => {
                self.review_cause = Some(cause.clone());
                self.stopped_in = Some(self.state);
                self.resolution = None;
            }
            Event::ReviewResolved(resolved) => {
                if self.is_screened() && resolved.resolution == Resolution::Retry {
                    self.approved_at = Some(at);
                }
                self.review_cause = None;
                self.stopped_in = None;
                self.resolution = Some(resolved.resolution);
            }
        }
        // A person who lets it be asked again does not make it any younger.
        let since = self.unknown_since.unwrap_or(at);
        self.unknown_since = (next == State::Unknown).then_some(since);
        self.state = next;
        self.updated_at = at;
        self.version += 1;
        Ok(())
    }

    /// The state after an event; `None` when the event cannot follow.
    fn after(&self, event: &Event) -> Option<State> {
        use Flow::{Between, In, Out};
        use State::{
            Completed, Failed, Held, ManualReview, Pending, Processing, Releasing, Settling,
            Unknown,
        };
        let flow = self.movement.flow();
        match (event, self.state, flow) {
            (
                Event::ShortfallFound {
                    attempt,
                    wallet_minor,
                },
                Pending,
                Out,
            ) => {
                let follows = self.covers_shortfall()
                    && *attempt == self.shares()
                    && (0..=self.amount.minor()).contains(wallet_minor);
                follows.then_some(Pending)
            }
            (Event::FundsHeld { .. }, Pending, Out) if self.wallet_pays() > 0 => Some(Held),
            (Event::ProviderRequested { .. }, Pending, Out) if self.wallet_pays() > 0 => None,
            (Event::ProviderRequested { .. }, Pending, In | Out)
            | (Event::ProviderRequested { .. }, Held, Out)
            | (Event::ProviderRequested { .. }, Processing, In | Out) => Some(Processing),
            (Event::ProviderAccepted { .. }, Processing | Unknown, _) => Some(Processing),
            (Event::ProviderSucceeded { .. }, Processing | Unknown, _) => Some(Settling),
            (Event::ProviderDeclined { .. }, Processing | Unknown, _) => Some(Releasing),
            (Event::OutcomeUnknown { .. }, Processing, _) => Some(Unknown),
            (Event::Completed { .. }, Pending, Between)
            | (Event::Completed { .. }, Settling, In | Out) => Some(Completed),
            (Event::Failed(_), Pending | Held | Processing | Unknown | Releasing, _) => {
                Some(Failed)
            }
            (Event::ReviewRequired { .. }, state, _) if !state.is_at_rest() => Some(ManualReview),
            (Event::ReviewResolved(resolved), _, _) => self.after_resolution(resolved.resolution),
            _ => None,
        }
    }

    /// Since when it is expected to be done: since a person approved it, if one had to.
    pub fn expected_since(&self) -> OffsetDateTime {
        self.approved_at.unwrap_or(self.created_at)
    }

    /// Whether a provider may still have to be asked to act, so that what it is asked
    /// with is still needed. It is asked at most once in a way that may reach it.
    pub fn may_be_asked(&self) -> bool {
        match self.state {
            State::Pending | State::Held => true,
            State::Processing => !self.is_accepted(),
            State::ManualReview => self.is_screened(),
            State::Unknown
            | State::Settling
            | State::Releasing
            | State::Completed
            | State::Failed => false,
        }
    }

    /// Whether the provider has said that it has the request.
    pub fn is_accepted(&self) -> bool {
        self.provider_reference.is_some()
    }

    /// How many shares of the wallet's were found.
    pub fn shares(&self) -> u32 {
        self.share.map_or(0, |share| share.number)
    }

    /// What the wallet the money leaves pays, in minor units.
    pub fn wallet_pays(&self) -> i64 {
        self.share
            .map_or(self.amount.minor(), |share| share.wallet_minor)
    }

    /// What the platform pays for that wallet, in minor units, and has a claim on
    /// its owner for.
    pub fn receivable(&self) -> i64 {
        // A share is never more than the amount.
        self.amount.minor() - self.wallet_pays()
    }

    /// Whether the platform pays what the wallet has not got.
    pub fn covers_shortfall(&self) -> bool {
        self.movement.refund().is_some_and(|refund| {
            matches!(
                refund.back,
                Back::Provider {
                    covers_shortfall: true,
                    ..
                }
            )
        })
    }

    /// The id of the hold of what goes to a provider: the same for every attempt to place it.
    pub fn hold_id(&self) -> HoldId {
        HoldId::from_uuid(self.derived_id("hold"))
    }

    /// The id of the grant of bonus money that a bonus grant makes.
    pub fn grant_id(&self) -> GrantId {
        GrantId::from_uuid(self.derived_id("grant"))
    }

    /// An id that is this transaction's and this name's for ever (UUIDv5).
    pub(super) fn derived_id(&self, name: &str) -> Uuid {
        Uuid::new_v5(&self.id.uuid(), name.as_bytes())
    }
}
