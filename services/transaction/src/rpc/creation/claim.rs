//! Claiming a key with the intent that it stands for.
//!
//! A transfer without a quote is recorded with those of others, see [`crate::intents`].
//! Everything else is recorded alone, in one database transaction, behind the key: what
//! the fraud rules say, the price, what is used of the user's limits, the intent itself
//! and the check with the first lease.

use bursar_aip::id::TransactionId;
use bursar_aip::idempotency::{self, Answer, Claim};
use bursar_server::{crash_point, database, now};
use bursar_status::correlation;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tonic::Status;
use tracing::Span;

use super::super::fraud::screening::Screened;
use super::{Claimed, Creation, Intent, Wish};
use crate::advance::Run;
use crate::domain::{Initiated, Input, Movement, Price, Step, step};
use crate::error::Error;
use crate::fraud::Subject;
use crate::intents::{Asked, Fate};
use crate::limits::{self, LimitError, Mover};
use crate::pricing;
use crate::store::events::EventBatch;
use crate::store::transactions::Stored;
use crate::store::{checks, payment_methods, transactions};
use crate::watch;

impl Creation {
    /// Claims the key with the intent: with those of others, where it is of the kind
    /// that is recorded so, or alone.
    pub(super) async fn claim(&self, wish: Wish) -> Result<Claimed, Error> {
        if let Wish::Intent(intent) = &wish
            && let Some(asked) = self.asked(intent)
        {
            match self.engine.intents.begin(asked).await {
                Fate::Begun {
                    stored,
                    lease,
                    first,
                } => {
                    watch::moved(&stored.transaction);
                    let run = self.live_run(*stored, lease, false);
                    return Ok(Claimed::Run(Box::new((run, *first))));
                }
                Fate::Before(claim) => return Ok(Claimed::Before(claim)),
                Fate::Refused(status) => return Ok(Claimed::Refused(status)),
                Fate::Alone => {}
            }
        }
        self.claim_alone(wish).await
    }

    /// The intent of a transfer without a quote; `None` for any other.
    fn asked(&self, intent: &Intent) -> Option<Asked> {
        let is_plain =
            matches!(intent.movement, Movement::Transfer { .. }) && intent.quote.is_none();
        is_plain.then(|| Asked {
            transaction: self.transaction,
            initiator: self.initiator,
            tier: self.tier,
            actor: self.actor.clone(),
            freeze: self.freeze.clone(),
            fingerprint: self.fingerprint,
            lease_time: self.lease_time(),
            movement: intent.movement.clone(),
            amount: intent.amount,
            description: intent.description.clone(),
            span: Span::current(),
        })
    }

    /// One database transaction: the key, the intent, the check with the first
    /// lease. What the state machine wants recorded before its first command is
    /// recorded along with the intent.
    async fn claim_alone(&self, wish: Wish) -> Result<Claimed, Error> {
        let at = now();
        let id = self.transaction;
        let mut database = database::begin(&self.engine.pool).await?;
        if let Wish::Refund(refund) = &wish {
            refund.lock(&mut database).await?;
        }
        let scope = self.freeze.scope();
        let resource = Some(id.uuid());
        let claim =
            idempotency::claim(&mut database, &scope, self.fingerprint, resource, at).await?;
        if claim != Claim::Claimed {
            database.rollback().await?;
            return Ok(Claimed::Before(claim));
        }
        let priced = match self.intent(wish, &mut database).await {
            Ok(intent) => self.screen_and_price(id, intent, at, &mut database).await,
            Err(error) => Err(error),
        };
        let (screened, intent, price) = match priced {
            Ok(priced) => priced,
            Err(error) if error.is_kept() => {
                let status = Status::from(error);
                let answer = Answer::error(&status);
                idempotency::complete(&mut database, &scope, &answer).await?;
                crash_point!("creation.before_denial_commit");
                database.commit().await?;
                crash_point!("creation.after_denial_commit");
                return Ok(Claimed::Refused(status));
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = self.reserve(&intent, at, &mut database).await {
            database.rollback().await?;
            return self.refused_by_limit(error).await;
        }
        screened.keep(&mut database, &self.actor).await?;
        let input = if screened.stopped().is_empty() {
            Input::Resume(None)
        } else {
            Input::Screened
        };
        let (run, first) = self
            .record(id, intent, price, input, at, &mut database)
            .await?;
        let is_stopped = run.stored.transaction.is_screened();
        if is_stopped && let Some(answer) = self.freeze.answer(&run.stored) {
            idempotency::complete(&mut database, &scope, &answer).await?;
        }
        crash_point!("creation.before_intent_commit");
        database.commit().await?;
        crash_point!("creation.after_intent_commit");
        watch::moved(&run.stored.transaction);
        Ok(if is_stopped {
            Claimed::Stopped(Box::new(run.stored))
        } else {
            Claimed::Run(Box::new((run, first)))
        })
    }

    /// What the fraud rules say of the intent, and what it costs. A refund is not
    /// screened.
    async fn screen_and_price(
        &self,
        id: TransactionId,
        intent: Intent,
        at: OffsetDateTime,
        database: &mut PgConnection,
    ) -> Result<(Screened, Intent, Price), Error> {
        let (tenant, movement) = (&self.freeze.tenant, &intent.movement);
        let subject = Subject::wanted(tenant, id, self.initiator, movement, intent.amount, at);
        let subjects = subject.into_iter().collect();
        let screened = Screened::hear(&self.engine, database, tenant, subjects).await?;
        let (intent, price) = self.price(id, intent, at, database).await?;
        Ok((screened, intent, price))
    }

    /// Reserves what the intent uses of the user's limits.
    async fn reserve(
        &self,
        intent: &Intent,
        at: OffsetDateTime,
        database: &mut PgConnection,
    ) -> Result<(), LimitError> {
        let mover = Mover {
            tenant: &self.freeze.tenant,
            user: self.initiator,
            tier: self.tier,
        };
        limits::reserve(database, mover, &intent.movement, intent.amount, at).await
    }

    /// Keeps a limit's refusal for the key, and nothing else: a quote that the intent
    /// names can still be used.
    async fn refused_by_limit(&self, error: LimitError) -> Result<Claimed, Error> {
        if let LimitError::Unread(_) = error {
            return Err(error.into());
        }
        let status = Status::from(error);
        Ok(match self.keep(&Answer::error(&status)).await? {
            Claim::Claimed => Claimed::Refused(status),
            before => Claimed::Before(before),
        })
    }

    async fn intent(&self, wish: Wish, database: &mut PgConnection) -> Result<Intent, Error> {
        match wish {
            Wish::Intent(intent) => Ok(intent),
            Wish::Refund(refund) => {
                let tenant = &self.freeze.tenant;
                refund.intent(&self.engine, tenant, database).await
            }
        }
    }

    /// The intent with what it costs: its quote is used up, when it names one.
    async fn price(
        &self,
        id: TransactionId,
        intent: Intent,
        at: OffsetDateTime,
        database: &mut PgConnection,
    ) -> Result<(Intent, Price), Error> {
        let order = pricing::Order {
            transaction: id,
            tenant: &self.freeze.tenant,
            user: self.initiator,
            movement: &intent.movement,
            amount: intent.amount,
            quote: intent.quote,
        };
        let found = pricing::price(database, &[order], at).await?.pop();
        Ok((intent, found.transpose()?.unwrap_or_default()))
    }

    /// Writes the intent, and what the state machine makes of it at once. Returns
    /// the run and the first step, of which only the command is left.
    async fn record(
        &self,
        id: TransactionId,
        intent: Intent,
        price: Price,
        input: Input,
        at: OffsetDateTime,
        database: &mut PgConnection,
    ) -> Result<(Run, Step), Error> {
        let initiated = Initiated {
            movement: intent.movement,
            amount: intent.amount,
            price,
            initiator: self.initiator,
        };
        let tenant = self.freeze.tenant.clone();
        let (begun, event) = Stored::initiate(id, initiated, tenant, intent.description, at);
        let terms = self.engine.terms(&begun.transaction);
        let first = step(&begun.transaction, input, &terms, at)?;
        let mut log = vec![event];
        log.extend(first.events.iter().cloned());
        let stored = Stored {
            transaction: first.transaction.clone(),
            ..begun.clone()
        };
        let correlation = correlation::current();
        let (tenant, lease_time) = (&stored.tenant, self.lease_time());
        let holder = self.engine.holder;
        let lease = checks::insert(database, tenant, id, holder, lease_time, &correlation).await?;
        let batch = EventBatch::new();
        if first.transaction.is_screened() {
            // A row begins PENDING and is turned from there; there is nothing to check.
            let (turned, from) = (&first.transaction, begun.transaction.version);
            transactions::insert(database, &begun, &batch).await?;
            transactions::update(database, turned, from, &batch).await?;
            checks::remove(database, &lease).await?;
        } else {
            transactions::insert(database, &stored, &batch).await?;
        }
        if let Some(method) = &self.payment_method {
            payment_methods::keep(database, id, method).await?;
        }
        batch.append(database, &stored, &log, &self.actor).await?;
        let run = self.live_run(stored, lease, false);
        let first = Step {
            events: Vec::new(),
            ..first
        };
        Ok((run, first))
    }
}
