//! `GetSchedule`, `ListSchedules` and `ListScheduleRuns`.

use bursar_aip::id::ScheduleId;
use bursar_aip::page;
use bursar_auth::Reach;
use bursar_contracts::transaction::v1::{
    GetScheduleRequest, GetScheduleResponse, ListScheduleRunsRequest, ListScheduleRunsResponse,
    ListSchedulesRequest, ListSchedulesResponse,
};
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::SHOWN;
use crate::advance::Engine;
use crate::contract::timestamp;
use crate::schedule::error::Error;
use crate::schedule::{Schedule, ScheduleRun};
use crate::store::schedules::{self, runs};

/// The names of the lists in page tokens.
const SCHEDULES: &str = "schedules";
const RUNS: &str = "schedule-runs";

/// Where a page of schedules ends.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    before: ScheduleId,
}

/// Where a page of runs ends.
#[derive(Debug, Serialize, Deserialize)]
struct RunCursor {
    before: i32,
}

pub(super) async fn get(
    engine: &Engine,
    request: Request<GetScheduleRequest>,
) -> Result<Response<GetScheduleResponse>, Status> {
    let context = Context::of(&request)?;
    let id = id(&request.into_inner().schedule_id)?;
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let found = visible(&mut conn, &context, id).await?;
    let coming = found.preview(SHOWN).into_iter();
    Ok(Response::new(GetScheduleResponse {
        schedule: Some(found.message()),
        next_runs_at: coming.map(timestamp).collect(),
    }))
}

pub(super) async fn list(
    engine: &Engine,
    request: Request<ListSchedulesRequest>,
) -> Result<Response<ListSchedulesResponse>, Status> {
    let context = Context::of(&request)?;
    let user = match context.reach()? {
        Reach::Any => None,
        Reach::Own(user) => Some(user),
    };
    let message = request.into_inner();
    // A page token is good for the list that it came from, and for no other user's.
    let whose = user.map_or_else(|| "any".to_owned(), |user| user.to_string());
    let filter = [whose.as_str()];
    let cursor: Option<Cursor> = page::decode(SCHEDULES, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let before = cursor.map(|cursor| cursor.before);

    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let tenant = &context.caller.tenant;
    // One more than asked for tells whether there is a next page.
    let mut listed = schedules::list(&mut conn, tenant, user, before, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut listed, size)
        .map(|last| page::encode(SCHEDULES, &filter, &Cursor { before: last.id }))
        .unwrap_or_default();
    Ok(Response::new(ListSchedulesResponse {
        schedules: listed.iter().map(Schedule::message).collect(),
        next_page_token,
    }))
}

pub(super) async fn list_runs(
    engine: &Engine,
    request: Request<ListScheduleRunsRequest>,
) -> Result<Response<ListScheduleRunsResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let id = id(&message.schedule_id)?;
    let filter = [message.schedule_id.as_str()];
    let cursor: Option<RunCursor> = page::decode(RUNS, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let before = cursor.map(|cursor| cursor.before);

    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let found = visible(&mut conn, &context, id).await?;
    let mut listed = runs::list(&mut conn, found.id, before, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut listed, size)
        .map(|last| {
            let before = last.number;
            page::encode(RUNS, &filter, &RunCursor { before })
        })
        .unwrap_or_default();
    Ok(Response::new(ListScheduleRunsResponse {
        runs: listed.iter().map(ScheduleRun::message).collect(),
        next_page_token,
    }))
}

pub(super) fn id(text: &str) -> Result<ScheduleId, Error> {
    text.parse().map_err(|_| Error::FieldInvalid {
        field: "schedule_id",
    })
}

/// A schedule that the caller may see: their own, or anybody's.
pub(super) async fn visible(
    conn: &mut PgConnection,
    context: &Context,
    id: ScheduleId,
) -> Result<Schedule, Status> {
    let reach = context.reach()?;
    let found = schedules::find(conn, id).await.map_err(Error::from)?;
    let seen = found
        .filter(|schedule| schedule.tenant == context.caller.tenant)
        .filter(|schedule| match reach {
            Reach::Any => true,
            Reach::Own(user) => schedule.initiator == user,
        });
    Ok(seen.ok_or(Error::NotFound)?)
}
