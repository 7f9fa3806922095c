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

mod claim;

use std::time::{Duration, Instant};

use bursar_aip::id::{QuoteId, TenantId, TransactionId, UserId};
use bursar_aip::idempotency::{self, Answer, Claim, Key};
use bursar_money::PositiveMoney;
use bursar_server::{Context, crash_point, database, now};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};
use uuid::Uuid;

use super::refund::RefundWish;
use crate::advance::{AnswerForm, Ended, Engine, Freeze, Run, answer_of};
use crate::domain::{Movement, Refusal, Step};
use crate::error::Error;
use crate::provider::PaymentMethod;
use crate::store::checks;
use crate::store::transactions::Stored;

/// How long after its deadline a live run's lease lapses: the time in which its
/// last commit may still be under way.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// What is to be moved.
pub(super) struct Intent {
    pub(super) movement: Movement,
    pub(super) amount: PositiveMoney,
    pub(super) description: String,
    /// The quote that it names.
    pub(super) quote: Option<QuoteId>,
}

/// What a transfer is asked by that no live call asks for: it was planned before.
pub(super) struct Planned {
    /// What the transaction is called. It was chosen and kept before, so that what was
    /// planned is one transaction also when its key is no longer kept.
    pub(super) transaction: TransactionId,
    pub(super) tenant: TenantId,
    /// For whom it is made.
    pub(super) initiator: UserId,
    /// How far the user's identity was verified when it was planned.
    pub(super) tier: u8,
    /// Who is told to have caused it.
    pub(super) actor: String,
    /// What stands for the RPC in the key's scope.
    pub(super) method: &'static str,
    pub(super) key: Key,
    pub(super) deadline: Instant,
}

/// A Create call under way.
pub(super) struct Creation {
    engine: Engine,
    transaction: TransactionId,
    initiator: UserId,
    tier: u8,
    actor: String,
    freeze: Freeze,
    fingerprint: [u8; 32],
    deadline: Instant,
    payment_method: Option<PaymentMethod>,
}

/// What became of claiming the key.
enum Claimed {
    /// It is ours, and so is the run, which starts with this step.
    Run(Box<(Run, Step)>),
    /// It came before.
    Before(Claim),
    /// It is ours, and the transaction rests until a person decides. The answer is kept.
    Stopped(Box<Stored>),
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
        let freeze = Freeze::of(context).ok_or_else(idempotency::required)?;
        Ok(Self {
            engine: engine.clone(),
            transaction: TransactionId::generate(),
            initiator: context.user_id()?,
            tier: context.caller.tier,
            actor: context.caller.actor(),
            freeze,
            fingerprint: idempotency::fingerprint(message),
            deadline: context.deadline,
            payment_method: None,
        })
    }

    /// The same for what a user has planned before.
    pub(super) fn planned(engine: &Engine, planned: Planned, message: &impl Message) -> Self {
        Self {
            engine: engine.clone(),
            transaction: planned.transaction,
            initiator: planned.initiator,
            tier: planned.tier,
            actor: planned.actor,
            freeze: Freeze {
                tenant: planned.tenant,
                principal: planned.initiator.to_string(),
                method: planned.method,
                key: planned.key,
            },
            fingerprint: idempotency::fingerprint(message),
            deadline: planned.deadline,
            payment_method: None,
        }
    }

    /// The same with what the provider is to charge.
    pub(super) fn charging(self, payment_method: Option<PaymentMethod>) -> Self {
        Self {
            payment_method,
            ..self
        }
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
        // Each part in a box of its own, or the future of every call would have room for
        // all of them.
        match Box::pin(self.claim(wish)).await? {
            Claimed::Run(start) => {
                let (run, first) = *start;
                let ended = Box::pin(self.engine.advance(run, first)).await;
                Box::pin(self.answer(ended)).await
            }
            Claimed::Before(claim) => Box::pin(self.before(claim)).await,
            Claimed::Stopped(stored) => Ok(Response::new(answer_of(&stored)?)),
            Claimed::Refused(status) => Err(status),
        }
    }

    /// Does the same with an intent that has to be found out first, such as by a look at
    /// a wallet. A key that came before is answered without that: what is found may change
    /// from call to call.
    pub(super) async fn run_found<T: AnswerForm>(
        self,
        intent: impl Future<Output = Result<Intent, Error>> + Send,
    ) -> Result<Response<T>, Status> {
        match self.peek().await? {
            Claim::Claimed => {}
            before => return self.before(before).await,
        }
        match intent.await {
            Ok(intent) => self.run(intent).await,
            Err(Error::Refused(refusal)) => self.refuse(refusal).await,
            Err(error) => Err(error.into()),
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

    /// Answers what was refused before it was recorded, and keeps the answer for the key.
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
        crash_point!("creation.before_refusal_commit");
        database.commit().await?;
        crash_point!("creation.after_refusal_commit");
        Ok(claim)
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
        crash_point!("creation.before_take_over");
        let lease = checks::take(&mut conn, id, self.engine.holder, self.lease_time())
            .await
            .map_err(Error::from)?;
        crash_point!("creation.after_take_over");
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
        self.keep_or_repeat(&stored).await
    }

    /// Answers by where a transaction rests that somebody else has brought there, and
    /// keeps the answer, unless the key has one by now: then that is the answer.
    async fn keep_or_repeat<T: AnswerForm>(&self, stored: &Stored) -> Result<Response<T>, Status> {
        if let Some(answer) = self.freeze.answer(stored) {
            match self.complete(&answer).await {
                Ok(()) => {}
                Err(Error::Database(sqlx::Error::RowNotFound)) => {
                    return self.repeat(stored).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Response::new(answer_of(stored)?))
    }

    /// The answer that the key has. A key without one is gone, and nobody can ask for
    /// it any more: then the answer is where the transaction is.
    async fn repeat<T: AnswerForm>(&self, stored: &Stored) -> Result<Response<T>, Status> {
        match self.peek().await? {
            Claim::Replay(answer) => answer.into_result(),
            Claim::Reused | Claim::InUse { .. } | Claim::Claimed => {
                Ok(Response::new(answer_of(stored)?))
            }
        }
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
    /// other run has come to, if that is an end; one whose key was answered meanwhile,
    /// by that answer.
    async fn answer<T: AnswerForm>(
        &self,
        ended: Result<Ended, Error>,
    ) -> Result<Response<T>, Status> {
        match ended {
            Ok(ended) if ended.is_kept => Ok(Response::new(answer_of(&ended.stored)?)),
            Ok(ended) => self.repeat(&ended.stored).await,
            Err(Error::Superseded { transaction }) => {
                let stored = self.engine.find(transaction).await?;
                if !stored.transaction.state.is_at_rest() {
                    return Err(Error::Superseded { transaction }.into());
                }
                self.keep_or_repeat(&stored).await
            }
            Err(error) => Err(error.into()),
        }
    }
}
