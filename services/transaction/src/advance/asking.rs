//! The calls to providers: what one is asked to do, and what it says it did.
//!
//! Time passes while an order is filled, and a process may stand still for as long as it
//! likes. So whether there is time for a call, and whether the order may still be sent,
//! is looked at last, right before the call.

use std::time::{Duration, Instant};

use bursar_server::{crash_point, now};

use super::{COMMIT_MARGIN, Engine, Run};
use crate::domain::{Asked, Looked, ProviderName};
use crate::error::Error;
use crate::payout::PayoutError;
use crate::provider::{Direction, Guarded, Order};
use crate::store::payment_methods;
use crate::store::reconciliation::breaks;
use crate::store::transactions::Stored;
use crate::watch;

/// A provider, and what a transaction wants of it.
struct Matter<'a> {
    name: &'a ProviderName,
    provider: &'a Guarded,
    order: Order,
}

impl Engine {
    /// Asks the provider to act.
    #[tracing::instrument(name = "provider.ask", skip_all)]
    pub(super) async fn ask(&self, run: &Run) -> Asked {
        let Some(matter) = self.matter(run) else {
            return Asked::NotSent;
        };
        let (name, provider) = (matter.name, matter.provider);
        let order = match self.instructed(run, provider, matter.order).await {
            Ok(order) => order,
            Err(error) => {
                tracing::error!(%error, "what the provider is to be told cannot be read now");
                return Asked::NotSent;
            }
        };
        crash_point!("advance.before_ask");
        let Some(timeout) = run.time_for(provider) else {
            return Asked::NotSent;
        };
        if now() >= order.valid_until {
            return Asked::NotSent;
        }
        let started = Instant::now();
        let asked = provider.act(&order, timeout).await;
        crash_point!("advance.after_ask");
        watch::provider_asked(name, order.direction, &asked, started.elapsed());
        asked
    }

    /// The order with what the provider has to be told, if anything: what it is to
    /// charge, or whom it is to pay.
    async fn instructed(
        &self,
        run: &Run,
        provider: &Guarded,
        order: Order,
    ) -> Result<Order, Error> {
        let is_charged =
            order.direction == Direction::Charge && provider.offer().needs_payment_method;
        let payout_account = run.stored.transaction.movement.payout_account();
        if !is_charged && payout_account.is_none() {
            return Ok(order);
        }
        let mut conn = self.pool.acquire().await?;
        let payment_method = if is_charged {
            payment_methods::find(&mut conn, run.lease.transaction).await?
        } else {
            None
        };
        let payee = match payout_account {
            Some(id) => {
                let found = self.payout_accounts.find(&mut conn, id).await?;
                Some(found.ok_or(PayoutError::NotFound)?.payee)
            }
            None => None,
        };
        Ok(Order {
            payment_method,
            payee,
            ..order
        })
    }

    /// Asks the provider what it did; the settlement instead, where it cannot be asked.
    #[tracing::instrument(name = "provider.look", skip_all)]
    pub(super) async fn look(&self, run: &Run) -> Looked {
        let Some(matter) = self.matter(run) else {
            return Looked::Unanswered;
        };
        if !matter.provider.tells_what_it_did() {
            return self.settled(&run.stored).await;
        }
        let Some(timeout) = run.time_for(matter.provider) else {
            return Looked::Unanswered;
        };
        let started = Instant::now();
        crash_point!("advance.before_look");
        let looked = tokio::select! {
            looked = matter.provider.look(&matter.order, timeout) => looked,
            () = run.stop.cancelled() => Looked::Unanswered,
        };
        crash_point!("advance.after_look");
        let direction = matter.order.direction;
        watch::provider_looked(matter.name, direction, &looked, started.elapsed());
        looked
    }

    /// What the settlement says of a transaction whose provider cannot be asked. Only
    /// that it was done: that a line is missing says nothing.
    async fn settled(&self, stored: &Stored) -> Looked {
        let settled = async {
            let mut conn = self.pool.acquire().await?;
            breaks::settled_payout(&mut conn, stored).await
        };
        match settled.await {
            Ok(Some(done)) => Looked::Found(done),
            Ok(None) => Looked::Unanswered,
            Err(error) => {
                tracing::warn!(%error, "what the settlement says cannot be read now");
                Looked::Unanswered
            }
        }
    }

    /// What the run's transaction wants of its provider.
    fn matter<'a>(&'a self, run: &'a Run) -> Option<Matter<'a>> {
        let transaction = &run.stored.transaction;
        let name = transaction.movement.provider()?;
        let Some(provider) = self.providers.get(name) else {
            tracing::error!(provider = %name, "the provider is not configured");
            return None;
        };
        let order = Order::of(transaction, &provider.terms())?;
        Some(Matter {
            name,
            provider,
            order,
        })
    }
}

impl Run {
    /// The time for a call to a provider; `None` when there is none, or the run is to
    /// stop. What the provider leaves of it is for the ledger and the commits.
    fn time_for(&self, provider: &Guarded) -> Option<Duration> {
        let left = self
            .deadline
            .saturating_duration_since(Instant::now())
            .saturating_sub(COMMIT_MARGIN);
        let timeout = provider.deadline().min(left);
        (timeout >= COMMIT_MARGIN && !self.stop.is_cancelled()).then_some(timeout)
    }
}
