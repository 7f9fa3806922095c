//! `CreateSchedule`.
//!
//! The ledger is asked about both wallets before anything is recorded, so that a plan
//! that cannot work is refused now and not at its first run. What the wallets are then
//! may change until a run; the run decides for itself.

use std::time::Duration;

use bursar_aip::id::{ScheduleId, UserId};
use bursar_contracts::transaction::v1::{
    CreateScheduleRequest, CreateScheduleResponse, MissedRunPolicy, MissedRunRule,
    ScheduleFailurePolicy, ScheduleRecurrence, ScheduleUnit,
};
use bursar_server::{Context, crash_point, detached, now};
use prost_types::Timestamp;
use sqlx::PgConnection;
use time::{OffsetDateTime, Time};
use tonic::{Request, Response, Status};

use super::SHOWN;
use crate::advance::Engine;
use crate::contract::{self, timestamp};
use crate::domain::Side;
use crate::error::Error as TransferError;
use crate::rpc::once::{Begun, Once};
use crate::rpc::wallet_look::{Part, half_way_to};
use crate::rpc::{amount, wallet_id};
use crate::schedule::error::Error;
use crate::schedule::recurrence::{Recurrence, Unit, Zone};
use crate::schedule::{Failures, MissedRule, MissedRuns, Schedule, State, Timing};
use crate::store::schedules::{self, checks};

/// How long ago a start may be: the time in which a request travels.
const START_SLACK: time::Duration = time::Duration::MINUTE;
/// How far ahead a start may be.
const START_AHEAD: time::Duration = time::Duration::days(3660);
/// How many schedules a user may have that are not over.
const MAX_LIVING: i64 = 100;
/// What a policy means where it says nothing.
const MISSED_AFTER: Duration = Duration::from_secs(3600);
const CATCH_UP_LIMIT: u16 = 10;
const RETRY_INTERVAL: Duration = Duration::from_secs(3600);
const PAUSE_AFTER: u16 = 3;

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateScheduleRequest>,
) -> Result<Response<CreateScheduleResponse>, Status> {
    let context = Context::of(&request)?;
    let initiator = context.user_id()?;
    let call = Call {
        engine: engine.clone(),
        initiator,
        message: request.into_inner(),
        context,
    };
    detached(async move { call.run().await }).await
}

/// A call under way.
struct Call {
    engine: Engine,
    initiator: UserId,
    context: Context,
    message: CreateScheduleRequest,
}

impl Call {
    async fn run(self) -> Result<Response<CreateScheduleResponse>, Status> {
        // A key that came before is answered whatever has become of start and wallets.
        match self.begin().await? {
            Begun::First(open) => drop(open),
            Begun::Before(answer) => return answer.into_result(),
        }
        let schedule = self.schedule(now())?;
        self.check_wallets(&schedule).await?;
        let mut open = match self.begin().await? {
            Begun::First(open) => open,
            Begun::Before(answer) => return answer.into_result(),
        };
        self.record(&mut open.database, &schedule).await?;
        let coming = schedule.preview(SHOWN).into_iter();
        let response = CreateScheduleResponse {
            schedule: Some(schedule.message()),
            next_runs_at: coming.map(timestamp).collect(),
        };
        crash_point!("schedule.before_create_commit");
        let answered = open.finish(response).await?;
        crash_point!("schedule.after_create_commit");
        Ok(answered)
    }

    async fn begin(&self) -> Result<Begun, Status> {
        Once::of(&self.context, &self.message)
            .begin(&self.engine.pool)
            .await
    }

    /// The schedule and its check, which are one commit with the key and the answer.
    async fn record(&self, conn: &mut PgConnection, schedule: &Schedule) -> Result<(), Error> {
        let (tenant, initiator) = (&schedule.tenant, self.initiator);
        let living = schedules::count_living(conn, tenant, initiator).await?;
        if living >= MAX_LIVING {
            return Err(Error::Exceeded);
        }
        let first = schedule.next_run_at.ok_or(Error::WithoutRuns)?;
        let check_in = Duration::try_from(first - now()).unwrap_or_default();
        checks::open(conn, tenant, schedule.id, self.engine.holder, check_in).await?;
        schedules::insert(conn, schedule).await?;
        Ok(())
    }

    /// What the request plans.
    fn schedule(&self, now: OffsetDateTime) -> Result<Schedule, Error> {
        let message = &self.message;
        let from = wallet_id(&message.from_wallet_id, "from_wallet_id")?;
        let to = wallet_id(&message.to_wallet_id, "to_wallet_id")?;
        if from == to {
            return Err(TransferError::SameWallet.into());
        }
        let start_at = self.start(now)?;
        let timing = match &message.recurrence {
            None => Timing::Once,
            Some(recurrence) => Timing::Recurring(recurring(recurrence, start_at)?),
        };
        let mut schedule = Schedule {
            id: ScheduleId::generate(),
            tenant: self.context.caller.tenant.clone(),
            initiator: self.initiator,
            tier: self.context.caller.tier,
            from,
            to,
            amount: amount(message.amount.as_ref())?,
            description: message.description.clone(),
            start_at,
            timing,
            end_at: moment(message.end_at.as_ref(), "end_at")?,
            max_runs: (message.max_runs > 0).then_some(message.max_runs),
            missed: missed(message.missed_runs.unwrap_or_default())?,
            failures: failures(message.failures.unwrap_or_default())?,
            state: State::Active,
            next_run_at: None,
            run_count: 0,
            failures_in_a_row: 0,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        schedule.next_run_at = schedule.first_due();
        match schedule.next_run_at {
            Some(_) => Ok(schedule),
            None => Err(Error::WithoutRuns),
        }
    }

    fn start(&self, now: OffsetDateTime) -> Result<OffsetDateTime, Error> {
        let field = "start_at";
        let start = match moment(self.message.start_at.as_ref(), field)? {
            Some(start) => start,
            None if self.message.recurrence.is_some() => return Ok(now),
            None => return Err(Error::FieldInvalid { field }),
        };
        if start < now - START_SLACK {
            return Err(Error::StartPassed);
        }
        if start > now + START_AHEAD {
            return Err(Error::FieldInvalid { field });
        }
        Ok(start)
    }

    /// Refuses wallets that could not take part now.
    async fn check_wallets(&self, schedule: &Schedule) -> Result<(), Error> {
        let (ledger, until) = (&self.engine.ledger, half_way_to(self.context.deadline));
        let payer = Part {
            wallet: schedule.from,
            side: Side::Payer,
            owner: Some(self.initiator),
            currency: schedule.amount.currency(),
        };
        payer.check(ledger, until).await?;
        let payee = Part {
            wallet: schedule.to,
            side: Side::Payee,
            owner: None,
            ..payer
        };
        Ok(payee.check(ledger, until).await?)
    }
}

fn recurring(message: &ScheduleRecurrence, start: OffsetDateTime) -> Result<Recurrence, Error> {
    let day_field = "recurrence.day_of_month";
    let day = u8::try_from(message.day_of_month).unwrap_or(u8::MAX);
    let unit = match (message.unit(), day) {
        (ScheduleUnit::Day, 0) => Unit::Day,
        (ScheduleUnit::Week, 0) => Unit::Week,
        (ScheduleUnit::Month, 1..=31) => Unit::Month { day },
        (ScheduleUnit::Unspecified, _) => {
            return Err(Error::FieldInvalid {
                field: "recurrence.unit",
            });
        }
        (ScheduleUnit::Day | ScheduleUnit::Week | ScheduleUnit::Month, _) => {
            return Err(Error::FieldInvalid { field: day_field });
        }
    };
    let time_of_day = time_of_day(&message.time_of_day).ok_or(Error::FieldInvalid {
        field: "recurrence.time_of_day",
    })?;
    let zone = Zone::parse(&message.time_zone).ok_or(Error::ZoneUnknown)?;
    let interval = u16::try_from(message.interval).unwrap_or(1);
    Recurrence::starting(unit, interval, time_of_day, zone, start).ok_or(Error::WithoutRuns)
}

/// A time of day that the contract has found well-formed.
fn time_of_day(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    Time::from_hms(hour.parse().ok()?, minute.parse().ok()?, 0).ok()
}

/// A time in the microseconds that the database keeps.
fn moment(
    message: Option<&Timestamp>,
    field: &'static str,
) -> Result<Option<OffsetDateTime>, Error> {
    let Some(message) = message else {
        return Ok(None);
    };
    let at = contract::instant(message).ok_or(Error::FieldInvalid { field })?;
    let microseconds = at.microsecond();
    let at = at.replace_microsecond(microseconds);
    Ok(Some(at.map_err(|_| Error::FieldInvalid { field })?))
}

fn missed(message: MissedRunPolicy) -> Result<MissedRuns, Error> {
    let field = "missed_runs";
    Ok(MissedRuns {
        rule: match message.rule() {
            MissedRunRule::Unspecified | MissedRunRule::Skip => MissedRule::Skip,
            MissedRunRule::RunOnce => MissedRule::RunOnce,
            MissedRunRule::RunAll => MissedRule::RunAll,
        },
        after: period(message.missed_after_seconds, MISSED_AFTER, field)?,
        catch_up_limit: number(message.catch_up_limit, CATCH_UP_LIMIT, field)?,
    })
}

fn failures(message: ScheduleFailurePolicy) -> Result<Failures, Error> {
    let field = "failures";
    Ok(Failures {
        max_retries: number(message.max_retries, 0, field)?,
        retry_interval: period(message.retry_interval_seconds, RETRY_INTERVAL, field)?,
        pause_after: number(message.pause_after_failures, PAUSE_AFTER, field)?,
    })
}

/// A number of the request's, or what it means when it says nothing.
fn number(given: i32, default: u16, field: &'static str) -> Result<u16, Error> {
    match given {
        0 => Ok(default),
        _ => u16::try_from(given).map_err(|_| Error::FieldInvalid { field }),
    }
}

fn period(seconds: i32, default: Duration, field: &'static str) -> Result<Duration, Error> {
    match seconds {
        0 => Ok(default),
        _ => {
            let seconds = u64::try_from(seconds).map_err(|_| Error::FieldInvalid { field })?;
            Ok(Duration::from_secs(seconds))
        }
    }
}
