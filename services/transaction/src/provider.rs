//! Payment providers: third parties that take money in and pay it out.
//!
//! A provider is asked by our reference, the transaction's id, under which it
//! acts at most once. What it answers is sorted into what is certain and what
//! is not; nothing here decides what follows from that.

mod sandbox;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::HeaderMap;
use bursar_aip::id::TransactionId;
use bursar_money::PositiveMoney;
use thiserror::Error;
use time::OffsetDateTime;

use crate::domain::{Asked, Looked, Movement, ProviderName, Terms, Transaction};

pub(crate) use sandbox::{Sandbox, SandboxSettings};

/// The direction of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The provider takes money in.
    Charge,
    /// The provider pays money out.
    Payout,
}

/// What a provider is asked to do, or asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// Our name for it.
    pub(crate) reference: TransactionId,
    /// The direction.
    pub(crate) direction: Direction,
    /// How much.
    pub(crate) amount: PositiveMoney,
    /// Until when a request to act may be taken; later it must not have any
    /// effect. Half of the provider's window after it was recorded that it is
    /// asked: a process that stood still in between must not send what has been
    /// given up meanwhile, and the other half is for clocks that differ.
    pub(crate) valid_until: OffsetDateTime,
}

impl Order {
    /// The order of a transaction; `None` for one whose provider was not asked.
    pub(crate) fn of(transaction: &Transaction, terms: &Terms) -> Option<Self> {
        let direction = match transaction.movement {
            Movement::Transfer { .. } => return None,
            Movement::Deposit { .. } => Direction::Charge,
            Movement::Withdrawal { .. } => Direction::Payout,
        };
        Some(Self {
            reference: transaction.id,
            direction,
            amount: transaction.amount,
            valid_until: transaction.provider_requested_at? + terms.lookup_window / 2,
        })
    }
}

impl Direction {
    /// The name in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Payout => "payout",
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

/// A payment provider.
#[async_trait]
pub(crate) trait PaymentProvider: Send + Sync {
    /// What was agreed with it.
    fn terms(&self) -> Terms;

    /// How long it may take to act.
    fn deadline(&self) -> Duration;

    /// Asks it to act, waiting no longer than `timeout`.
    async fn act(&self, order: &Order, timeout: Duration) -> Asked;

    /// Asks it what it did, waiting no longer than `timeout`.
    async fn look(&self, order: &Order, timeout: Duration) -> Looked;

    /// Reads a callback after checking its signature.
    fn read_callback(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused>;
}

/// The providers that are configured.
#[derive(Clone, Default)]
pub(crate) struct Providers(Arc<HashMap<ProviderName, Arc<dyn PaymentProvider>>>);

impl Providers {
    pub(crate) fn new(
        providers: impl IntoIterator<Item = (ProviderName, Arc<dyn PaymentProvider>)>,
    ) -> Self {
        Self(Arc::new(providers.into_iter().collect()))
    }

    /// The provider of that name.
    pub(crate) fn get(&self, name: &ProviderName) -> Option<&Arc<dyn PaymentProvider>> {
        self.0.get(name)
    }
}
