//! `PauseSchedule`, `ResumeSchedule` and `CancelSchedule`.
//!
//! A wish is carried out in one database transaction with its key, if it has one. The
//! job sees it at its next step, and brings what is under way to its end.

use std::time::Duration;

use bursar_contracts::transaction::v1::{
    self as contract, CancelScheduleRequest, CancelScheduleResponse, PauseScheduleRequest,
    PauseScheduleResponse, ResumeScheduleRequest, ResumeScheduleResponse,
};
use bursar_server::{Context, detached, now};
use prost::Message;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::reads;
use crate::advance::Engine;
use crate::rpc::once::{Begun, Once};
use crate::schedule::Schedule;
use crate::schedule::control::{Asker, Wish, control};
use crate::schedule::error::Error;
use crate::store::schedules::{self, checks};

/// A request about one schedule.
pub(super) trait Order: Message {
    /// What is answered.
    type Answer: Message + Default + Send + 'static;

    /// The schedule's id and the version that the caller has seen, 0 for none.
    fn about(&self) -> (&str, i64);

    /// The answer.
    fn answer(schedule: contract::Schedule) -> Self::Answer;
}

impl Order for PauseScheduleRequest {
    type Answer = PauseScheduleResponse;

    fn about(&self) -> (&str, i64) {
        (&self.schedule_id, self.version)
    }

    fn answer(schedule: contract::Schedule) -> PauseScheduleResponse {
        PauseScheduleResponse {
            schedule: Some(schedule),
        }
    }
}

impl Order for ResumeScheduleRequest {
    type Answer = ResumeScheduleResponse;

    fn about(&self) -> (&str, i64) {
        (&self.schedule_id, self.version)
    }

    fn answer(schedule: contract::Schedule) -> ResumeScheduleResponse {
        ResumeScheduleResponse {
            schedule: Some(schedule),
        }
    }
}

impl Order for CancelScheduleRequest {
    type Answer = CancelScheduleResponse;

    fn about(&self) -> (&str, i64) {
        (&self.schedule_id, self.version)
    }

    fn answer(schedule: contract::Schedule) -> CancelScheduleResponse {
        CancelScheduleResponse {
            schedule: Some(schedule),
        }
    }
}

pub(super) async fn handle<O: Order + 'static>(
    engine: &Engine,
    request: Request<O>,
    wish: Wish,
) -> Result<Response<O::Answer>, Status> {
    let context = Context::of(&request)?;
    let engine = engine.clone();
    let order = request.into_inner();
    detached(async move { carry_out(&engine, &context, &order, wish).await }).await
}

async fn carry_out<O: Order>(
    engine: &Engine,
    context: &Context,
    order: &O,
    wish: Wish,
) -> Result<Response<O::Answer>, Status> {
    let mut open = match Once::of(context, order).begin(&engine.pool).await? {
        Begun::First(open) => open,
        Begun::Before(answer) => return answer.into_result(),
    };
    let after = change(engine, context, &mut open.database, order.about(), wish).await?;
    let answered = open.finish(O::answer(after.message())).await?;
    tracing::info!(schedule_id = %after.id, state = after.state.name(), "a schedule was turned");
    Ok(answered)
}

async fn change(
    engine: &Engine,
    context: &Context,
    conn: &mut PgConnection,
    (id, version): (&str, i64),
    wish: Wish,
) -> Result<Schedule, Status> {
    let id = reads::id(id)?;
    // Nobody learns by a lock whether another's schedule is there.
    let seen = reads::visible(conn, context, id).await?;
    checks::open(conn, &seen.tenant, id, engine.holder, Duration::ZERO)
        .await
        .map_err(Error::from)?;
    schedules::lock(conn, id).await.map_err(Error::from)?;
    let before = reads::visible(conn, context, id).await?;
    let asker = match context.caller.user_id() {
        Some(user) if user == before.initiator => Asker::Owner {
            tier: context.caller.tier,
        },
        Some(_) | None => Asker::Operator,
    };
    let version = (version != 0).then_some(version);
    let changed = control(&before, wish, asker, version, now()).map_err(Error::from)?;
    let Some(after) = changed else {
        return Ok(before);
    };
    schedules::update(conn, &after).await.map_err(Error::from)?;
    Ok(after)
}
