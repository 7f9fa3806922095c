//! A provider as the engine sees it: a connector behind its bulkhead, its
//! breaker and its retries.
//!
//! A refusal of one of these is told as what it is for the transaction: nothing
//! was sent, or nothing was learnt. Tried again is only what certainly had no
//! effect, a request for which there was no connection and a question; whatever
//! may have been sent is told at once, as it is, and never sent again from here.
//! All attempts of a call together take no longer than the call may take.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use bursar_server::now;
use time::OffsetDateTime;

use super::bank::{BankAccount, Enquired};
use super::breaker::{Breaker, BreakerSettings, Permit, Phase, Sign};
use super::bulkhead::{Bulkhead, BulkheadSettings};
use super::retry::RetryPolicy;
use super::routing::Offer;
use super::{Callback, CallbackRefused, Heard, Order, PaymentProvider};
use crate::domain::{Asked, Looked, ProviderName, Terms};
use crate::watch;

/// How a provider is called, and what for.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuardSettings {
    /// How calls that had no effect are tried again.
    pub(crate) retry: RetryPolicy,
    /// When it is left alone.
    pub(crate) breaker: BreakerSettings,
    /// How many calls may be under way.
    pub(crate) bulkhead: BulkheadSettings,
    /// What it does for us.
    pub(crate) offer: Offer,
}

/// The provider.
pub(crate) struct Guarded {
    name: ProviderName,
    connector: Box<dyn PaymentProvider>,
    retry: RetryPolicy,
    offer: Offer,
    breaker: Mutex<Breaker>,
    acting: Bulkhead,
    looking: Bulkhead,
}

/// One attempt of a call.
type Attempt<'a, T> = Pin<Box<dyn Future<Output = Heard<T>> + Send + 'a>>;

/// One call with all its attempts.
struct Call<'a, T> {
    /// The name in metrics.
    operation: &'static str,
    /// The places it needs one of.
    bulkhead: &'a Bulkhead,
    /// The outcome that says that there was no effect.
    without_effect: T,
    /// How long it may take.
    timeout: Duration,
    /// After when no attempt is begun.
    valid_until: Option<OffsetDateTime>,
}

/// The right to make one attempt. Dropped without a report, as when the future
/// of the call is dropped, it says nothing about the provider.
struct Pass<'a> {
    guarded: &'a Guarded,
    permit: Option<Permit>,
}

impl Guarded {
    /// Puts a connector behind its guards.
    pub(crate) fn new(
        name: ProviderName,
        connector: Box<dyn PaymentProvider>,
        settings: GuardSettings,
    ) -> Self {
        watch::breaker(&name, Phase::Closed);
        let bulkhead = |kind, places| Bulkhead::new(name.clone(), kind, places);
        Self {
            acting: bulkhead("acting", settings.bulkhead.acting),
            looking: bulkhead("looking", settings.bulkhead.looking),
            breaker: Mutex::new(Breaker::new(settings.breaker, Instant::now())),
            retry: settings.retry,
            offer: settings.offer,
            name,
            connector,
        }
    }

    /// What was agreed with it.
    pub(crate) fn terms(&self) -> Terms {
        self.connector.terms()
    }

    /// How long it may take to act.
    pub(crate) fn deadline(&self) -> Duration {
        self.connector.deadline()
    }

    /// What it does for us.
    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Whether its health lets it be chosen now.
    pub(crate) fn is_choosable(&self) -> bool {
        self.with_breaker(|breaker| breaker.is_choosable(Instant::now()))
    }

    /// Chooses it for a transaction, if its health still lets it be chosen.
    pub(crate) fn choose(&self) -> bool {
        self.with_breaker(|breaker| breaker.choose(Instant::now()))
    }

    /// Asks it to act, waiting no longer than `timeout`.
    pub(crate) async fn act(&self, order: &Order, timeout: Duration) -> Asked {
        let call = Call {
            operation: order.direction.name(),
            bulkhead: &self.acting,
            without_effect: Asked::NotSent,
            timeout,
            valid_until: Some(order.valid_until),
        };
        self.call(call, |left| self.connector.act(order, left))
            .await
    }

    /// Asks it what it did, waiting no longer than `timeout`.
    pub(crate) async fn look(&self, order: &Order, timeout: Duration) -> Looked {
        let call = Call {
            operation: order.direction.status_name(),
            bulkhead: &self.looking,
            without_effect: Looked::Unanswered,
            timeout,
            valid_until: None,
        };
        self.call(call, |left| self.connector.look(order, left))
            .await
    }

    /// Whether it can be asked what it did.
    pub(crate) fn tells_what_it_did(&self) -> bool {
        self.connector.tells_what_it_did()
    }

    /// Asks it whose a bank account is, waiting no longer than `timeout`; `None` for one
    /// that pays to none.
    pub(crate) async fn name_of(
        &self,
        account: &BankAccount,
        timeout: Duration,
    ) -> Option<Enquired> {
        let bank = self.connector.bank()?;
        let call = Call {
            operation: "name_enquiry",
            bulkhead: &self.looking,
            without_effect: Enquired::Unanswered,
            timeout,
            valid_until: None,
        };
        Some(self.call(call, |left| bank.name_of(account, left)).await)
    }

    /// Reads a callback after checking its signature.
    pub(crate) fn read_callback(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused> {
        self.connector.read_callback(headers, body, now)
    }

    async fn call<'a, T: PartialEq>(
        &'a self,
        call: Call<'a, T>,
        attempt: impl Fn(Duration) -> Attempt<'a, T>,
    ) -> T {
        let Some(_place) = call.bulkhead.enter() else {
            watch::call_refused(&self.name, call.operation, "bulkhead");
            return call.without_effect;
        };
        let started = Instant::now();
        let mut failed = 0;
        loop {
            let Some(pass) = self.pass() else {
                watch::call_refused(&self.name, call.operation, "breaker");
                return call.without_effect;
            };
            if failed > 0 {
                watch::call_retried(&self.name, call.operation);
            }
            let heard = attempt(call.timeout.saturating_sub(started.elapsed())).await;
            pass.report(heard.sign);
            // Failing and without effect: there was no connection, or it was a
            // question. A provider that has turned us away is not pressed.
            if heard.sign != Sign::Failing || heard.outcome != call.without_effect {
                return heard.outcome;
            }
            failed += 1;
            let left = call.timeout.saturating_sub(started.elapsed());
            let jitter_permille = rand::random_range(500..=1000);
            let Some(delay) = self.retry.next(failed, left, jitter_permille) else {
                return heard.outcome;
            };
            tokio::time::sleep(delay).await;
            if call.valid_until.is_some_and(|until| now() >= until) {
                return call.without_effect;
            }
        }
    }

    fn pass(&self) -> Option<Pass<'_>> {
        let permit = self.with_breaker(|breaker| breaker.admit(Instant::now()))?;
        Some(Pass {
            guarded: self,
            permit: Some(permit),
        })
    }

    fn with_breaker<T>(&self, decide: impl FnOnce(&mut Breaker) -> T) -> T {
        // A decision changes the breaker at its end or not at all, so one that
        // panicked has left nothing behind.
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.phase();
        let decided = decide(&mut breaker);
        let after = breaker.phase();
        if before != after {
            watch::breaker_turned(&self.name, before, after);
        }
        decided
    }
}

impl Pass<'_> {
    fn report(mut self, sign: Sign) {
        self.give_back(sign);
    }

    fn give_back(&mut self, sign: Sign) {
        if let Some(permit) = self.permit.take() {
            let jitter_permille = rand::random_range(750..=1250);
            let now = Instant::now();
            self.guarded
                .with_breaker(|breaker| breaker.report(permit, sign, now, jitter_permille));
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.give_back(Sign::Nothing);
    }
}

#[cfg(test)]
mod tests;
