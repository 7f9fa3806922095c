//! Payment providers: third parties that take money in and pay it out.
//!
//! A provider is asked by our reference, the transaction's id, under which it
//! acts at most once. What it answers is sorted into what is certain and what
//! is not; nothing here decides what follows from that.
//!
//! A [`PaymentProvider`] speaks one provider's API. The engine sees it as
//! [`Guarded`]: behind a bulkhead, a breaker and retries of its own, so that one
//! provider's trouble stays its own. [`Providers::choose`] finds the provider for
//! a movement of which the caller names none.

mod bank;
mod breaker;
mod bulkhead;
mod cards;
mod guarded;
mod payment_method;
mod providus;
mod retry;
mod routing;
mod sandbox;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::HeaderMap;
use bursar_aip::id::TransactionId;
use bursar_money::PositiveMoney;
use thiserror::Error;
use time::OffsetDateTime;

use crate::domain::{Asked, Back, Looked, Movement, ProviderName, Terms, Transaction};

pub(crate) use bank::{BankAccount, Enquired, Payee};
pub(crate) use breaker::{BreakerSettings, Phase, Sign};
pub(crate) use bulkhead::BulkheadSettings;
pub(crate) use guarded::{GuardSettings, Guarded};
pub(crate) use payment_method::PaymentMethod;
pub(crate) use providus::{ProvidusSettings, currency as naira};
pub(crate) use retry::RetryPolicy;
pub(crate) use routing::{Currencies, Offer, Tariff, Unavailable, Wanted};
pub(crate) use wire::Access;

use bank::NameEnquiry;
use cards::Cards;
use providus::Providus;
use routing::Candidate;
use sandbox::Sandbox;

/// The direction of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The provider takes money in.
    Charge,
    /// The provider pays money out.
    Payout,
    /// The provider gives back what it took in by an earlier charge.
    Refund,
}

/// What a provider is asked to do, or asked about.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Our name for it.
    pub(crate) reference: TransactionId,
    /// The direction.
    pub(crate) direction: Direction,
    /// Our name for the charge that a refund gives back; absent for anything else.
    pub(crate) original: Option<TransactionId>,
    /// How much.
    pub(crate) amount: PositiveMoney,
    /// Until when a request to act may be taken; later it must not have any
    /// effect. Half of the provider's window after it was recorded that it is
    /// asked: a process that stood still in between must not send what has been
    /// given up meanwhile, and the other half is for clocks that differ.
    pub(crate) valid_until: OffsetDateTime,
    /// Until when it is worth being finished that was begun with the provider; later
    /// nobody expects it any more, and what can be given up is given up.
    pub(crate) wanted_until: OffsetDateTime,
    /// What is charged, where the provider needs to be told. Only for acting.
    pub(crate) payment_method: Option<PaymentMethod>,
    /// Who is paid, where the provider needs to be told. Only for acting.
    pub(crate) payee: Option<Payee>,
}

impl Order {
    /// The order of a transaction; `None` for one whose provider was not asked.
    pub(crate) fn of(transaction: &Transaction, terms: &Terms) -> Option<Self> {
        let direction = match &transaction.movement {
            Movement::Transfer { .. } | Movement::Adjustment(_) | Movement::BonusGrant { .. } => {
                return None;
            }
            Movement::Deposit { .. } => Direction::Charge,
            Movement::Withdrawal { .. } => Direction::Payout,
            Movement::Refund(refund) => match refund.back {
                Back::Wallet(_) => return None,
                Back::Provider { .. } => Direction::Refund,
            },
        };
        let refund = transaction.movement.refund();
        Some(Self {
            reference: transaction.id,
            direction,
            original: refund.map(|refund| refund.original),
            amount: transaction.amount,
            valid_until: transaction.provider_requested_at? + terms.lookup_window / 2,
            wanted_until: transaction.expected_since() + terms.give_up_after,
            payment_method: None,
            payee: None,
        })
    }
}

impl Direction {
    /// The name in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Payout => "payout",
            Self::Refund => "refund",
        }
    }

    /// The name of a question about it in metrics and logs.
    pub(crate) fn status_name(self) -> &'static str {
        match self {
            Self::Charge => "charge_status",
            Self::Payout => "payout_status",
            Self::Refund => "refund_status",
        }
    }
}

/// A callback whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Callback {
    /// The provider's id of it.
    pub(crate) id: String,
    /// What it is about, in the provider's words.
    pub(crate) kind: String,
    /// Our name of what it is about, as the provider tells it.
    pub(crate) reference: String,
}

/// Why a callback is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum CallbackRefused {
    /// The signature is missing, wrong, or too old.
    #[error("the callback's signature is missing, wrong or too old")]
    Signature,
    /// The body is not what the provider documents.
    #[error("the callback's body is not what the provider documents")]
    Body,
}

/// What a call has come to, and what it has shown of the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard<T> {
    /// What it means for the transaction.
    pub(crate) outcome: T,
    /// What it says about the provider's health. An [`Asked::NotSent`] that is
    /// [`Sign::Failing`] means that there was no connection, and nothing else.
    pub(crate) sign: Sign,
}

/// The API of a payment provider.
#[async_trait]
pub(crate) trait PaymentProvider: Send + Sync {
    /// What was agreed with it.
    fn terms(&self) -> Terms;

    /// How long it may take to act.
    fn deadline(&self) -> Duration;

    /// Asks it to act, waiting no longer than `timeout`. The request is sent at
    /// most once.
    async fn act(&self, order: &Order, timeout: Duration) -> Heard<Asked>;

    /// Asks it what it did, waiting no longer than `timeout`.
    async fn look(&self, order: &Order, timeout: Duration) -> Heard<Looked>;

    /// Whether it can be asked what it did. Of one that cannot, its settlement is the
    /// only word there is.
    fn tells_what_it_did(&self) -> bool {
        true
    }

    /// How it is asked whose a bank account is, if it pays to bank accounts.
    fn bank(&self) -> Option<&dyn NameEnquiry> {
        None
    }

    /// Reads a callback after checking its signature.
    fn read_callback(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused>;

    /// What it shows that nothing came within `timeout`. A provider that was
    /// given less than half of its time is not to blame: otherwise callers in a
    /// hurry could take it out of service for everybody.
    fn silence(&self, timeout: Duration) -> Sign {
        if timeout >= self.deadline() / 2 {
            Sign::Failing
        } else {
            Sign::Nothing
        }
    }
}

/// The API that a provider speaks.
#[derive(Clone, Debug)]
pub(crate) enum ConnectorSettings {
    /// The sandbox provider's own: charges, payouts and refunds.
    Sandbox(Access),
    /// A card acquirer's: authorisations, captures, voids and refunds.
    Cards(Access),
    /// Xpress Wallet's: transfers to bank accounts.
    Providus(ProvidusSettings),
}

impl ConnectorSettings {
    fn connect(self) -> anyhow::Result<Box<dyn PaymentProvider>> {
        Ok(match self {
            Self::Sandbox(access) => Box::new(Sandbox::new(access)?),
            Self::Cards(access) => Box::new(Cards::new(access)?),
            Self::Providus(settings) => Box::new(Providus::new(settings)?),
        })
    }
}

/// One provider's settings.
#[derive(Clone, Debug)]
pub(crate) struct ProviderSettings {
    /// Its name.
    pub(crate) name: ProviderName,
    /// Whose API it speaks, and how that is reached.
    pub(crate) connector: ConnectorSettings,
    /// How it is called, and what for.
    pub(crate) guard: GuardSettings,
}

/// The providers that are configured.
#[derive(Clone, Default)]
pub(crate) struct Providers(Arc<HashMap<ProviderName, Guarded>>);

impl Providers {
    /// The providers by these settings.
    pub(crate) fn new(
        settings: impl IntoIterator<Item = ProviderSettings>,
    ) -> anyhow::Result<Self> {
        let guarded = settings.into_iter().map(|settings| {
            let connector = settings.connector.connect()?;
            let guarded = Guarded::new(settings.name.clone(), connector, settings.guard);
            Ok((settings.name, guarded))
        });
        Ok(Self(Arc::new(guarded.collect::<anyhow::Result<_>>()?)))
    }

    /// The provider of that name.
    pub(crate) fn get(&self, name: &ProviderName) -> Option<&Guarded> {
        self.0.get(name)
    }

    /// The provider for a movement of which the caller names none. To be called
    /// once for a movement, before it is recorded.
    pub(crate) fn choose(&self, wanted: &Wanted) -> Result<&ProviderName, Unavailable> {
        let candidates = self.0.iter().map(|(name, guarded)| Candidate {
            name,
            offer: guarded.offer(),
            is_choosable: guarded.is_choosable(),
        });
        let ranked = routing::rank(candidates, wanted)?;
        // Another movement may have taken the trial of one on probation meanwhile.
        let chosen = ranked
            .into_iter()
            .find(|name| self.0.get(name).is_some_and(Guarded::choose));
        chosen.ok_or(Unavailable::Health)
    }
}
