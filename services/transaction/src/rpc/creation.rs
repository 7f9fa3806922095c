//! What the Create calls share: the claim of the key, the intent, the run,
//! and what a key that came before is told.
//!
//! | the key is … | and the transaction is … | the caller gets |
//! |---|---|---|
//! | new | | what the run comes to |
//! | answered | | the same answer again |
//! | claimed | at rest | its answer, which is kept now |
//! | claimed | under way, its lease lapsed | what a run from there comes to |
//! | claimed | being worked on | ABORTED, try again |
//! | used for another body | | ALREADY_EXISTS |

use std::time::{Duration, Instant};

use bursar_aip::id::{TransactionId, UserId};
use bursar_aip::idempotency::{self, Answer, Claim};
use bursar_money::PositiveMoney;
use bursar_server::{Context, crash_point, database, now};
use bursar_status::correlation;
use prost::Message;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};
use uuid::Uuid;

use super::refund::RefundWish;
use crate::advance::{AnswerForm, Engine, Freeze, Run, answer_of};
use crate::domain::{
    Event, Initiated, Input, Movement, Refusal, RefusalReason, Side, Step, Transaction, step,
};
use crate::error::Error;
use crate::store::transactions::Stored;
use crate::store::{checks, events, transactions};
use crate::watch;

/// How long after its deadline a live run's lease lapses: the time in which its
/// last commit may still be under way.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// What is to be moved.
pub(super) struct Intent {
    pub(super) movement: Movement,
    pub(super) amount: PositiveMoney,
    pub(super) description: String,
}

/// A Create call under way.
pub(super) struct Creation {
    engine: Engine,
    initiator: UserId,
    actor: String,
    freeze: Freeze,
    fingerprint: [u8; 32],
    deadline: Instant,
}

/// What became of claiming the key.
enum Claimed {
    /// It is ours, and so is the run, which starts with this step.
    Run(Box<(Run, Step)>),
    /// It came before.
    Before(Claim),
    /// It is ours, and there is nothing that can be moved. The answer is kept.
    Refused(Status),
}

/// What a Create call wants recorded.
enum Wish {
    /// This.
    Intent(Intent),
    /// What is left of another transaction, which is seen where it is recorded.
    Refund(RefundWish),
}

impl Creation {
    /// Reads what every Create call has. Only users create transactions, and
    /// only of wallets of their own, however far their permission reaches.
    pub(super) fn new(
        engine: &Engine,
        context: &Context,
        message: &impl Message,
    ) -> Result<Self, Status> {
        let key = context
            .idempotency_key
            .clone()
            .ok_or_else(idempotency::required)?;
        Ok(Self {
            engine: engine.clone(),
            initiator: context.user_id()?,
            actor: context.caller.actor(),
            freeze: Freeze {
                tenant: context.caller.tenant.clone(),
                principal: context.caller.principal(),
                method: context.method,
                key,
            },
            fingerprint: idempotency::fingerprint(message),
            deadline: context.deadline,
        })
    }

    /// Claims the key with the intent and runs the transaction.
    pub(super) async fn run<T: AnswerForm>(self, intent: Intent) -> Result<Response<T>, Status> {
        self.run_wish(Wish::Intent(intent)).await
    }

    /// Does the same with what can be given back of another transaction.
    pub(super) async fn run_refund<T: AnswerForm>(
        self,
        wish: RefundWish,
    ) -> Result<Response<T>, Status> {
        self.run_wish(Wish::Refund(wish)).await
    }

    async fn run_wish<T: AnswerForm>(self, wish: Wish) -> Result<Response<T>, Status> {
        match self.claim(wish).await? {
            Claimed::Run(start) => {
                let (run, first) = *start;
                let ended = self.engine.advance(run, first).await;
                self.answer(ended).await
            }
            Claimed::Before(claim) => self.before(claim).await,
            Claimed::Refused(status) => Err(status),
        }
    }

    /// Does the same once the ledger says that the wallet can take part. A key
    /// that came before is answered without looking at the wallet again, and
    /// without the intent: what is right for one may change from call to call.
    pub(super) async fn run_after_check<T: AnswerForm>(
        self,
        intent: impl FnOnce() -> Result<Intent, Error> + Send,
        side: Side,
    ) -> Result<Response<T>, Status> {
        match self.peek().await? {
            Claim::Claimed => {}
            before => return self.before(before).await,
        }
        let intent = intent()?;
        match self.check_wallet(&intent, side).await? {
            None => self.run(intent).await,
            Some(refusal) => self.refuse(refusal).await,
        }
    }

    /// What a claim of the key would say now.
    async fn peek(&self) -> Result<Claim, Error> {
        let mut database = database::begin(&self.engine.pool).await?;
        let scope = self.freeze.scope();
        let claim =
            idempotency::claim(&mut database, &scope, self.fingerprint, None, now()).await?;
        database.rollback().await?;
        Ok(claim)
    }

    /// Why the caller's wallet cannot take part. A frozen wallet may receive;
    /// whether it may pay is the hold's to say.
    async fn check_wallet(&self, intent: &Intent, side: Side) -> Result<Option<Refusal>, Error> {
        let wallet = match side {
            Side::Payer => intent.movement.from_wallet(),
            Side::Payee => intent.movement.to_wallet(),
        };
        let Some(wallet) = wallet else {
            return Ok(None);
        };
        // Half of the time is left for what comes after.
        let half = self.deadline.saturating_duration_since(Instant::now()) / 2;
        let looked = self
            .engine
            .ledger
            .wallet(wallet, Instant::now() + half)
            .await;
        let found = looked.map_err(|status| {
            tracing::warn!(code = ?status.code(), "the ledger does not say what the wallet is");
            Error::LedgerUnavailable { transaction: None }
        })?;
        let reason = match found {
            Some(wallet) if wallet.owner != Some(self.initiator) => RefusalReason::WalletNotFound,
            Some(wallet) if wallet.currency_code != intent.amount.currency().code() => {
                RefusalReason::CurrencyMismatch
            }
            Some(wallet) if wallet.is_closed => RefusalReason::WalletClosed,
            Some(_) => return Ok(None),
            None => RefusalReason::WalletNotFound,
        };
        Ok(Some(Refusal { reason, side }))
    }

    /// Answers a refusal of the check, and keeps the answer for the key.
    async fn refuse<T: AnswerForm>(self, refusal: Refusal) -> Result<Response<T>, Status> {
        let status = Status::from(Error::Refused(refusal));
        let answer = Answer::error(&status);
        match self.keep(&answer).await? {
            Claim::Claimed => Err(status),
            before => self.before(before).await,
        }
    }

    /// Claims the key and answers it at once.
    async fn keep(&self, answer: &Answer) -> Result<Claim, Error> {
        let mut database = database::begin(&self.engine.pool).await?;
        let scope = self.freeze.scope();
        let claim =
            idempotency::claim(&mut database, &scope, self.fingerprint, None, now()).await?;
        if claim == Claim::Claimed {
            idempotency::complete(&mut database, &scope, answer).await?;
        }
        database.commit().await?;
        Ok(claim)
    }

    /// One database transaction: the key, the intent, the check with the first
    /// lease. What the state machine wants recorded before its first command is
    /// recorded along with the intent.
    async fn claim(&self, wish: Wish) -> Result<Claimed, Error> {
        let at = now();
        let id = TransactionId::generate();
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
        let intent = match self.intent(wish, &mut database).await {
            Ok(intent) => intent,
            Err(error @ Error::Refund(_)) => {
                let status = Status::from(error);
                let answer = Answer::error(&status);
                idempotency::complete(&mut database, &scope, &answer).await?;
                database.commit().await?;
                return Ok(Claimed::Refused(status));
            }
            Err(error) => return Err(error),
        };
        let (run, first) = self.record(id, intent, at, &mut database).await?;
        crash_point!("creation.before_intent_commit");
        database.commit().await?;
        crash_point!("creation.after_intent_commit");
        watch::moved(&run.stored.transaction);
        Ok(Claimed::Run(Box::new((run, first))))
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

    /// Writes the intent, and what the state machine makes of it at once. Returns
    /// the run and the first step, of which only the command is left.
    async fn record(
        &self,
        id: TransactionId,
        intent: Intent,
        at: OffsetDateTime,
        database: &mut PgConnection,
    ) -> Result<(Run, Step), Error> {
        let initiated = Initiated {
            movement: intent.movement,
            amount: intent.amount,
            initiator: self.initiator,
        };
        let transaction = Transaction::initiate(id, initiated.clone(), at);
        let terms = self.engine.terms(&transaction);
        let first = step(&transaction, Input::Resume(None), &terms, at)?;
        let mut log = vec![Event::Initiated(initiated)];
        log.extend(first.events.iter().cloned());
        let stored = Stored {
            transaction: first.transaction.clone(),
            tenant: self.freeze.tenant.clone(),
            description: intent.description,
            refunded_minor: 0,
        };
        let correlation = correlation::current();
        let (tenant, lease_time) = (&stored.tenant, self.lease_time());
        let holder = self.engine.holder;
        let lease = checks::insert(database, tenant, id, holder, lease_time, &correlation).await?;
        transactions::insert(database, &stored).await?;
        events::append(database, &stored, &log, &self.actor).await?;
        let run = self.live_run(stored, lease, false);
        let first = Step {
            events: Vec::new(),
            ..first
        };
        Ok((run, first))
    }

    fn live_run(&self, stored: Stored, lease: checks::Lease, loose_end: bool) -> Run {
        Run {
            stored,
            lease,
            actor: self.actor.clone(),
            loose_end,
            freeze: Some(self.freeze.clone()),
            deadline: self.deadline,
            // A live run ends by its deadline, also while the process is ending.
            stop: CancellationToken::new(),
        }
    }

    fn lease_time(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()) + LEASE_MARGIN
    }

    /// Answers a key that came before.
    async fn before<T: AnswerForm>(&self, claim: Claim) -> Result<Response<T>, Status> {
        match claim {
            Claim::Replay(answer) => answer.into_result(),
            Claim::Reused => Err(idempotency::reused()),
            Claim::InUse {
                resource: Some(resource),
            } => self.go_on(resource).await,
            // Claimed here means that the key changed hands while we looked.
            Claim::InUse { resource: None } | Claim::Claimed => Err(idempotency::in_use()),
        }
    }

    /// Answers a key whose first request was not answered: by the transaction
    /// where it rests, or by running it on if nobody else does.
    async fn go_on<T: AnswerForm>(&self, resource: Uuid) -> Result<Response<T>, Status> {
        let id = TransactionId::from_uuid(resource);
        let mut conn = self.engine.pool.acquire().await.map_err(Error::from)?;
        let lease = checks::take(&mut conn, id, self.engine.holder, self.lease_time())
            .await
            .map_err(Error::from)?;
        drop(conn);
        if let Some(lease) = lease {
            let stored = self.engine.load(id).await?;
            let ended = self.engine.resume(self.live_run(stored, lease, true)).await;
            return self.answer(ended).await;
        }
        let stored = self.engine.find(id).await?;
        if !stored.transaction.state.is_at_rest() {
            return Err(idempotency::in_use());
        }
        if let Some(answer) = self.freeze.answer(&stored) {
            match self.complete(&answer).await {
                // Another duplicate was faster; the answer is the same.
                Ok(()) | Err(Error::Database(sqlx::Error::RowNotFound)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Response::new(answer_of(&stored)?))
    }

    async fn complete(&self, answer: &Answer) -> Result<(), Error> {
        let mut database = database::begin(&self.engine.pool).await?;
        idempotency::complete(&mut database, &self.freeze.scope(), answer).await?;
        crash_point!("creation.before_answer_commit");
        database.commit().await?;
        crash_point!("creation.after_answer_commit");
        Ok(())
    }

    /// The answer to a run. One that was overtaken is answered by where the
    /// other run has come to, if that is an end.
    async fn answer<T: AnswerForm>(
        &self,
        ended: Result<Stored, Error>,
    ) -> Result<Response<T>, Status> {
        let stored = match ended {
            Ok(stored) => stored,
            Err(Error::Superseded { transaction }) => {
                let stored = self.engine.find(transaction).await?;
                if !stored.transaction.state.is_at_rest() {
                    return Err(Error::Superseded { transaction }.into());
                }
                stored
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Response::new(answer_of(&stored)?))
    }
}
