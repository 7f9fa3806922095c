//! `DecideFraudCase`: takes a person's decision in, once.
//!
//! The call commits one database transaction: the key with its answer, the case, and
//! of a transaction that was stopped its event, its row and, when it goes on, a check
//! that is due at once. The case is turned by compare-and-set before anything else, so
//! of two decisions one waits for the other and finds it there.

use bursar_aip::id::{FraudCaseId, UserId, parse_field};
use bursar_aip::idempotency::{self, Answer, Claim};
use bursar_contracts::transaction::v1::{
    DecideFraudCaseRequest, DecideFraudCaseResponse, FraudDecision,
};
use bursar_server::{Context, crash_point, database, detached, now};
use bursar_status::correlation;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::contract;
use super::error::FraudError;
use crate::advance::{Engine, Freeze};
use crate::contract::transaction;
use crate::domain::decide_screened;
use crate::error::Error;
use crate::fraud::Stage;
use crate::limits;
use crate::store::checks;
use crate::store::events::EventBatch;
use crate::store::fraud::cases::{self, Case, End};
use crate::store::transactions::{self, Stored};
use crate::watch;

/// A decision and its place among the keys.
struct Decided {
    engine: Engine,
    freeze: Freeze,
    fingerprint: [u8; 32],
    operator: UserId,
    case: FraudCaseId,
    end: End,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<DecideFraudCaseRequest>,
) -> Result<Response<DecideFraudCaseResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let freeze = Freeze::of(&context).ok_or_else(idempotency::required)?;
    let decided = Decided {
        engine: engine.clone(),
        freeze,
        fingerprint: idempotency::fingerprint(&message),
        operator: context.user_id()?,
        case: parse_field("case_id", &message.case_id)?,
        end: End {
            is_approved: message.decision() == FraudDecision::Approve,
            reason: message.reason,
            by: context.caller.actor(),
            at: now(),
        },
    };
    detached(decided.take_in()).await
}

impl Decided {
    async fn take_in(self) -> Result<Response<DecideFraudCaseResponse>, Status> {
        let mut database = database::begin(&self.engine.pool)
            .await
            .map_err(FraudError::from)?;
        let scope = self.freeze.scope();
        let resource = Some(self.case.uuid());
        let claim = idempotency::claim(&mut database, &scope, self.fingerprint, resource, now())
            .await
            .map_err(FraudError::from)?;
        match claim {
            Claim::Claimed => {}
            Claim::Replay(answer) => return answer.into_result(),
            Claim::Reused => return Err(idempotency::reused()),
            Claim::InUse { .. } => return Err(idempotency::in_use()),
        }
        // A refusal is not kept: it rolls everything back.
        let (case, after) = self.record(&mut database).await?;
        let response = DecideFraudCaseResponse {
            case: Some(contract::told_case(&case)),
            transaction: Some(transaction(&after)),
        };
        idempotency::complete(&mut database, &scope, &Answer::response(&response))
            .await
            .map_err(FraudError::from)?;
        crash_point!("fraud.before_decision_commit");
        database.commit().await.map_err(FraudError::from)?;
        crash_point!("fraud.after_decision_commit");
        tracing::warn!(
            case_id = %self.case,
            transaction_id = %case.transaction,
            is_approved = self.end.is_approved,
            operator = self.end.by,
            "a person has decided a fraud case"
        );
        if case.stage == Stage::Before {
            watch::moved(&after.transaction);
        }
        watch::fraud_case_decided(self.end.is_approved);
        Ok(Response::new(response))
    }

    async fn record(&self, conn: &mut PgConnection) -> Result<(Case, Stored), FraudError> {
        let tenant = &self.freeze.tenant;
        let found = cases::find(conn, tenant, self.case).await?;
        let mut case = found.ok_or(FraudError::CaseNotFound)?;
        if case.user == self.operator {
            return Err(FraudError::CaseOwn);
        }
        if !cases::decide(conn, tenant, &case, &self.end).await? {
            return Err(FraudError::CaseDecided { id: self.case });
        }
        let stored = transactions::find(conn, case.transaction)
            .await?
            .ok_or(Error::TransactionNotFound)?;
        let after = match case.stage {
            Stage::Before => self.carry_out(conn, stored).await?,
            Stage::After => stored,
        };
        case.end = Some(self.end.clone());
        Ok((case, after))
    }

    /// Lets the transaction go on, or ends it.
    async fn carry_out(
        &self,
        conn: &mut PgConnection,
        stored: Stored,
    ) -> Result<Stored, FraudError> {
        let id = stored.transaction.id;
        let (is_approved, reason) = (self.end.is_approved, self.end.reason.clone());
        let step = decide_screened(
            &stored.transaction,
            is_approved,
            reason,
            self.operator,
            self.end.at,
        )?;
        if is_approved {
            let correlation = correlation::current();
            let holder = self.engine.holder;
            if !checks::reopen(conn, &stored.tenant, id, holder, &correlation).await? {
                return Err(FraudError::busy(id));
            }
        }
        let from = stored.transaction.version;
        let batch = EventBatch::new();
        if !transactions::update(conn, &step.transaction, from, &batch).await? {
            return Err(FraudError::busy(id));
        }
        let after = Stored {
            transaction: step.transaction,
            ..stored
        };
        batch
            .append(conn, &after, &step.events, &self.end.by)
            .await?;
        limits::release(conn, [&after.transaction]).await?;
        Ok(after)
    }
}
