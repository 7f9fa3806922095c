//! What happens to a transaction: the facts that are its truth.

use bursar_aip::id::{HoldId, UserId};
use bursar_money::PositiveMoney;
use time::OffsetDateTime;

use super::{Failure, Movement, Price, ProviderName, Resolution};

/// The first event of every transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiated {
    /// What it does.
    pub movement: Movement,
    /// How much it moves.
    pub amount: PositiveMoney,
    /// What that costs, and what the money becomes on its way.
    pub price: Price,
    /// The user who asked for it.
    pub initiator: UserId,
}

/// A fact about a transaction. The variants are the messages of the contract's
/// `events.proto`, where they are described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The intent is recorded.
    Initiated(Initiated),
    /// The wallet has not got what a refund takes: the platform pays the rest.
    ShortfallFound {
        /// How often a share of the wallet's was found before.
        attempt: u32,
        /// What the wallet is to pay, in minor units.
        wallet_minor: i64,
    },
    /// The money of a withdrawal or a refund is set aside.
    FundsHeld {
        /// The hold.
        hold: HoldId,
    },
    /// The provider is about to be asked.
    ProviderRequested {
        /// The provider.
        provider: ProviderName,
        /// How often it was asked before.
        attempt: u32,
    },
    /// The provider has taken the request and will finish it later.
    ProviderAccepted {
        /// The provider's own id for it.
        reference: String,
    },
    /// The provider has done its part.
    ProviderSucceeded {
        /// The provider's own id for it.
        reference: String,
    },
    /// The provider has refused.
    ProviderDeclined {
        /// The provider's own id for it, when it has one.
        reference: Option<String>,
        /// The provider's word for why.
        decline_code: String,
    },
    /// The provider's answer is not known.
    OutcomeUnknown {
        /// What was seen instead.
        cause: String,
    },
    /// Done.
    Completed {
        /// The user whose wallet the money reached, when there is one.
        beneficiary: Option<UserId>,
        /// When the ledger recorded it.
        posted_at: OffsetDateTime,
    },
    /// Refused, and no money moved.
    Failed(Failure),
    /// It needs a person.
    ReviewRequired {
        /// Why.
        cause: String,
    },
    /// An operator has said how it goes on.
    ReviewResolved(Resolved),
}

/// An operator's decision about a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// How it goes on.
    pub resolution: Resolution,
    /// Why, in the operator's words.
    pub reason: String,
    /// The operator.
    pub operator: UserId,
}

impl Event {
    /// The name it is published under.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Initiated(_) => "transaction.initiated",
            Self::ShortfallFound { .. } => "transaction.shortfall_found",
            Self::FundsHeld { .. } => "transaction.funds_held",
            Self::ProviderRequested { .. } => "transaction.provider_requested",
            Self::ProviderAccepted { .. } => "transaction.provider_accepted",
            Self::ProviderSucceeded { .. } => "transaction.provider_succeeded",
            Self::ProviderDeclined { .. } => "transaction.provider_declined",
            Self::OutcomeUnknown { .. } => "transaction.outcome_unknown",
            Self::Completed { .. } => "transaction.completed",
            Self::Failed(_) => "transaction.failed",
            Self::ReviewRequired { .. } => "transaction.review_required",
            Self::ReviewResolved(_) => "transaction.review_resolved",
        }
    }
}
