//! `ResolveReview`: takes an operator's decision in.
//!
//! The call commits one database transaction: the key with its answer, the event,
//! the row, and a check that is due at once. It neither posts nor asks anybody;
//! recovery goes on from there, as it would after a crash. So the decision counts
//! once or not at all, and the answer is about the decision, not about its end.

use bursar_aip::id::{TransactionId, UserId};
use bursar_aip::idempotency::{self, Answer, Claim};
use bursar_contracts::transaction::v1::{ResolveReviewRequest, ResolveReviewResponse};
use bursar_server::{Context, crash_point, database, detached, now};
use bursar_status::correlation;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use crate::advance::{Engine, Freeze};
use crate::contract;
use crate::domain::{Resolved, Step, resolve};
use crate::error::Error;
use crate::limits;
use crate::store::events::EventBatch;
use crate::store::transactions::Stored;
use crate::store::{checks, transactions};
use crate::watch;

/// A decision and its place among the keys.
struct Decision {
    engine: Engine,
    freeze: Freeze,
    fingerprint: [u8; 32],
    actor: String,
    transaction: TransactionId,
    resolved: Resolved,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<ResolveReviewRequest>,
) -> Result<Response<ResolveReviewResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let freeze = Freeze::of(&context).ok_or_else(idempotency::required)?;
    let decision = Decision {
        engine: engine.clone(),
        freeze,
        fingerprint: idempotency::fingerprint(&message),
        actor: context.caller.actor(),
        transaction: transaction_id(&message)?,
        resolved: resolved(&message, context.user_id()?)?,
    };
    detached(decision.take_in()).await
}

fn transaction_id(message: &ResolveReviewRequest) -> Result<TransactionId, Error> {
    let field = "transaction_id";
    let parsed = message.transaction_id.parse();
    parsed.map_err(|_| Error::FieldInvalid { field })
}

fn resolved(message: &ResolveReviewRequest, operator: UserId) -> Result<Resolved, Error> {
    let field = "resolution";
    Ok(Resolved {
        resolution: contract::resolution_of(message.resolution())
            .ok_or(Error::FieldInvalid { field })?,
        reason: message.reason.clone(),
        operator,
    })
}

impl Decision {
    async fn take_in(self) -> Result<Response<ResolveReviewResponse>, Status> {
        let mut database = database::begin(&self.engine.pool)
            .await
            .map_err(Error::from)?;
        let scope = self.freeze.scope();
        let resource = Some(self.transaction.uuid());
        let claim = idempotency::claim(&mut database, &scope, self.fingerprint, resource, now())
            .await
            .map_err(Error::from)?;
        match claim {
            Claim::Claimed => {}
            Claim::Replay(answer) => return answer.into_result(),
            Claim::Reused => return Err(idempotency::reused()),
            Claim::InUse { .. } => return Err(idempotency::in_use()),
        }
        // A refusal is not kept: what may be decided changes with time.
        let after = self.record(&mut database).await?;
        let response = ResolveReviewResponse {
            transaction: Some(contract::transaction(&after)),
        };
        idempotency::complete(&mut database, &scope, &Answer::response(&response))
            .await
            .map_err(Error::from)?;
        crash_point!("review.before_decision_commit");
        database.commit().await.map_err(Error::from)?;
        crash_point!("review.after_decision_commit");
        tracing::warn!(
            transaction_id = %self.transaction,
            resolution = self.resolved.resolution.name(),
            operator = self.actor,
            "an operator has decided"
        );
        watch::moved(&after.transaction);
        Ok(Response::new(response))
    }

    async fn record(&self, conn: &mut PgConnection) -> Result<Stored, Error> {
        let stored = self.find(conn).await?;
        let (step, from) = self.decide(&stored)?;
        // The check's row comes before the transaction's; nobody else writes then.
        let correlation = correlation::current();
        let (tenant, holder) = (&stored.tenant, self.engine.holder);
        if !checks::reopen(conn, tenant, self.transaction, holder, &correlation).await? {
            return Err(self.busy());
        }
        if step.transaction.state.is_at_rest() {
            checks::close(conn, self.transaction).await?;
        }
        // Somebody may have moved it on since it was read.
        let batch = EventBatch::new();
        if !transactions::update(conn, &step.transaction, from, &batch).await? {
            return Err(self.busy());
        }
        let after = Stored {
            transaction: step.transaction,
            ..stored
        };
        batch
            .append(conn, &after, &step.events, &self.actor)
            .await?;
        limits::release(conn, [&after.transaction]).await?;
        Ok(after)
    }

    async fn find(&self, conn: &mut PgConnection) -> Result<Stored, Error> {
        transactions::find(conn, self.transaction)
            .await?
            .filter(|stored| stored.tenant == self.freeze.tenant)
            .ok_or(Error::TransactionNotFound)
    }

    /// The step, and the version that it starts from.
    fn decide(&self, stored: &Stored) -> Result<(Step, i64), Error> {
        let transaction = &stored.transaction;
        let terms = self.engine.terms(transaction);
        let step = resolve(transaction, self.resolved.clone(), &terms, now())?;
        Ok((step, transaction.version))
    }

    fn busy(&self) -> Error {
        Error::Busy {
            transaction: self.transaction,
        }
    }
}
