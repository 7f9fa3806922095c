//! Schedules through the whole mesh: their runs, missed runs, refusals, and who may do
//! what with them.

use std::time::{Duration, Instant};

use bursar_contracts::transaction::v1::schedule_service_client::ScheduleServiceClient;
use bursar_contracts::transaction::v1::{
    CancelScheduleRequest, CreateScheduleRequest, CreateScheduleResponse, GetScheduleRequest,
    GetScheduleResponse, ListScheduleRunsRequest, ListScheduleRunsResponse, ListSchedulesRequest,
    ListSchedulesResponse, MissedRunPolicy, MissedRunRule, PauseScheduleRequest,
    ResumeScheduleRequest, Schedule, ScheduleFailurePolicy, SchedulePauseCause, ScheduleRecurrence,
    ScheduleRun, ScheduleRunState, ScheduleState, ScheduleUnit, TransactionState,
};
use bursar_server::now;
use bursar_testkit::{TestService, with_token};
use prost_types::Timestamp;
use time::OffsetDateTime;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::support::calls::{deposit, euros, is_replayed, refusal};
use crate::support::person::Person;
use crate::support::wire::Mode;
use crate::support::{API_KEY, CALLBACK_SECRET, Mesh};

mod invariants;
mod rules;
mod runs;

/// How long a test waits for what the job brings.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn client(mesh: &Mesh) -> ScheduleServiceClient<Channel> {
    ScheduleServiceClient::new(mesh.service.channel())
}

fn stamp(at: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).expect("fewer than 10^9"),
    }
}

/// One transfer, a moment from now.
fn once(from: &str, to: &str, minor_units: i64) -> CreateScheduleRequest {
    CreateScheduleRequest {
        from_wallet_id: from.to_owned(),
        to_wallet_id: to.to_owned(),
        amount: euros(minor_units),
        description: "rent".to_owned(),
        start_at: Some(stamp(now() + Duration::from_millis(200))),
        ..CreateScheduleRequest::default()
    }
}

/// A transfer every day, always ten minutes ago: the first is due in almost a day.
fn daily(from: &str, to: &str, minor_units: i64) -> CreateScheduleRequest {
    let ago = now() - time::Duration::minutes(10);
    CreateScheduleRequest {
        start_at: None,
        recurrence: Some(ScheduleRecurrence {
            unit: ScheduleUnit::Day.into(),
            interval: 1,
            time_of_day: format!("{:02}:{:02}", ago.hour(), ago.minute()),
            day_of_month: 0,
            time_zone: "UTC".to_owned(),
        }),
        ..once(from, to, minor_units)
    }
}

fn by_rule(rule: MissedRunRule, request: CreateScheduleRequest) -> CreateScheduleRequest {
    CreateScheduleRequest {
        missed_runs: Some(MissedRunPolicy {
            rule: rule.into(),
            ..MissedRunPolicy::default()
        }),
        ..request
    }
}

async fn create(
    mesh: &Mesh,
    person: &Person<'_>,
    request: CreateScheduleRequest,
    key: &str,
) -> Result<Response<CreateScheduleResponse>, Status> {
    let request = person.request_with(request, key);
    client(mesh).create_schedule(request).await
}

/// A new schedule.
async fn plan(mesh: &Mesh, person: &Person<'_>, request: CreateScheduleRequest) -> Schedule {
    let response = create(mesh, person, request, &Uuid::now_v7().to_string()).await;
    let response = response.expect("the plan is sound").into_inner();
    response.schedule.expect("a response has its schedule")
}

async fn get(mesh: &Mesh, token: &str, id: &str) -> Result<GetScheduleResponse, Status> {
    let request = GetScheduleRequest {
        schedule_id: id.to_owned(),
    };
    let response = client(mesh)
        .get_schedule(with_token(request, token))
        .await?;
    Ok(response.into_inner())
}

async fn found(mesh: &Mesh, person: &Person<'_>, id: &str) -> Schedule {
    let response = get(mesh, &person.token, id).await;
    let response = response.expect("it is the caller's");
    response.schedule.expect("a response has its schedule")
}

async fn list(
    mesh: &Mesh,
    token: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListSchedulesResponse, Status> {
    let request = ListSchedulesRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let response = client(mesh)
        .list_schedules(with_token(request, token))
        .await?;
    Ok(response.into_inner())
}

async fn list_runs(
    mesh: &Mesh,
    token: &str,
    id: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListScheduleRunsResponse, Status> {
    let request = ListScheduleRunsRequest {
        schedule_id: id.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let request = with_token(request, token);
    Ok(client(mesh).list_schedule_runs(request).await?.into_inner())
}

/// Waits until the runs, oldest first, are as they should be.
async fn until_runs(
    mesh: &Mesh,
    person: &Person<'_>,
    id: &str,
    fits: impl Fn(&[ScheduleRun]) -> bool,
) -> Vec<ScheduleRun> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let listed = list_runs(mesh, &person.token, id, 0, "").await;
        let mut runs = listed.expect("it is the caller's").runs;
        runs.reverse();
        if fits(&runs) {
            return runs;
        }
        assert!(Instant::now() < give_up, "the runs stay {runs:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Waits until so many runs have ended, and tells how.
async fn until_ended(
    mesh: &Mesh,
    person: &Person<'_>,
    id: &str,
    count: usize,
) -> Vec<ScheduleRunState> {
    let runs = until_runs(mesh, person, id, |runs| {
        runs.len() == count && runs.iter().all(|run| run.ended_at.is_some())
    });
    runs.await.iter().map(ScheduleRun::state).collect()
}

async fn until_state(mesh: &Mesh, person: &Person<'_>, id: &str, state: ScheduleState) -> Schedule {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let schedule = found(mesh, person, id).await;
        if schedule.state() == state {
            return schedule;
        }
        assert!(Instant::now() < give_up, "it stays {schedule:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Puts a schedule back by days, as if nobody had looked at it since. What is due is
/// looked at now.
async fn put_back(mesh: &Mesh, id: &str, days: i32) {
    let put = sqlx::query(
        "WITH put AS (
             UPDATE schedules
             SET start_at = start_at - make_interval(days => $2), anchor_date = anchor_date - $2,
                 next_run_at = next_run_at - make_interval(days => $2)
             WHERE schedule_id = $1::uuid
             RETURNING schedule_id
         )
         UPDATE schedule_checks
         SET next_check_at = clock_timestamp()
         FROM put
         WHERE schedule_checks.schedule_id = put.schedule_id",
    )
    .bind(id.trim_start_matches("sch_").to_owned())
    .bind(days)
    .execute(&mesh.database.owner)
    .await
    .expect("the owner may change schedules");
    assert_eq!(put.rows_affected(), 1);
}

async fn pause(mesh: &Mesh, token: &str, id: &str, version: i64) -> Result<Schedule, Status> {
    let request = PauseScheduleRequest {
        schedule_id: id.to_owned(),
        version,
    };
    let response = client(mesh)
        .pause_schedule(with_token(request, token))
        .await?;
    Ok(response.into_inner().schedule.expect("it is told"))
}

async fn resume(mesh: &Mesh, token: &str, id: &str) -> Result<Schedule, Status> {
    let request = ResumeScheduleRequest {
        schedule_id: id.to_owned(),
        version: 0,
    };
    let response = client(mesh)
        .resume_schedule(with_token(request, token))
        .await?;
    Ok(response.into_inner().schedule.expect("it is told"))
}

async fn cancel(mesh: &Mesh, token: &str, id: &str) -> Result<Schedule, Status> {
    let request = CancelScheduleRequest {
        schedule_id: id.to_owned(),
        version: 0,
    };
    let response = client(mesh)
        .cancel_schedule(with_token(request, token))
        .await?;
    Ok(response.into_inner().schedule.expect("it is told"))
}
