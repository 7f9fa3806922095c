//! Schedules.
//!
//! Lock order inside a database transaction: `schedule_checks`, then `schedules`, then
//! `schedule_runs`. Calls and the job both keep to it, and neither holds any of these
//! while a transfer is made.

pub(crate) mod checks;
pub(crate) mod runs;

use std::time::Duration;

use bursar_aip::id::{ScheduleId, TenantId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use sqlx::PgConnection;
use time::{Date, OffsetDateTime, Time};
use uuid::Uuid;

use super::unreadable;
use crate::schedule::recurrence::{Recurrence, Unit, Zone};
use crate::schedule::{Failures, MissedRule, MissedRuns, PauseCause, Schedule, State, Timing};

struct Row {
    schedule_id: Uuid,
    tenant_id: String,
    initiator_user_id: Uuid,
    tier: i16,
    from_wallet_id: Uuid,
    to_wallet_id: Uuid,
    currency_code: String,
    amount_minor: i64,
    description: String,
    start_at: OffsetDateTime,
    unit: String,
    every: Option<i16>,
    day_of_month: Option<i16>,
    time_of_day: Option<Time>,
    time_zone: Option<String>,
    anchor_date: Option<Date>,
    end_at: Option<OffsetDateTime>,
    max_runs: Option<i32>,
    missed_rule: String,
    missed_after_s: i32,
    catch_up_limit: i16,
    max_retries: i16,
    retry_interval_s: i32,
    pause_after: i16,
    state: String,
    pause_cause: Option<String>,
    next_run_at: Option<OffsetDateTime>,
    run_count: i32,
    failures_in_a_row: i32,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    version: i64,
}

impl Row {
    fn timing(&self) -> Option<Timing> {
        let unit = match self.unit.as_str() {
            "ONCE" => return Some(Timing::Once),
            "DAY" => Unit::Day,
            "WEEK" => Unit::Week,
            "MONTH" => Unit::Month {
                day: u8::try_from(self.day_of_month?).ok()?,
            },
            _ => return None,
        };
        Some(Timing::Recurring(Recurrence {
            unit,
            interval: u16::try_from(self.every?).ok()?,
            time_of_day: self.time_of_day?,
            zone: Zone::parse(self.time_zone.as_deref()?)?,
            anchor: self.anchor_date?,
        }))
    }

    fn missed(&self) -> Option<MissedRuns> {
        Some(MissedRuns {
            rule: MissedRule::parse(&self.missed_rule)?,
            after: seconds(self.missed_after_s)?,
            catch_up_limit: u16::try_from(self.catch_up_limit).ok()?,
        })
    }

    fn failures(&self) -> Option<Failures> {
        Some(Failures {
            max_retries: u16::try_from(self.max_retries).ok()?,
            retry_interval: seconds(self.retry_interval_s)?,
            pause_after: u16::try_from(self.pause_after).ok()?,
        })
    }

    fn state(&self) -> Option<State> {
        let cause = match &self.pause_cause {
            Some(name) => Some(PauseCause::parse(name)?),
            None => None,
        };
        State::parse(&self.state, cause)
    }

    fn amount(&self) -> Option<PositiveMoney> {
        let currency = Currency::parse(&self.currency_code).ok()?;
        PositiveMoney::new(currency, self.amount_minor).ok()
    }
}

impl TryFrom<Row> for Schedule {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: ScheduleId::from_uuid(row.schedule_id),
            initiator: UserId::from_uuid(row.initiator_user_id),
            tier: u8::try_from(row.tier).map_err(|_| unreadable("tier"))?,
            from: WalletId::from_uuid(row.from_wallet_id),
            to: WalletId::from_uuid(row.to_wallet_id),
            amount: row.amount().ok_or_else(|| unreadable("amount_minor"))?,
            timing: row.timing().ok_or_else(|| unreadable("unit"))?,
            missed: row.missed().ok_or_else(|| unreadable("missed_rule"))?,
            failures: row.failures().ok_or_else(|| unreadable("max_retries"))?,
            state: row.state().ok_or_else(|| unreadable("state"))?,
            tenant: row.tenant_id.parse().map_err(|_| unreadable("tenant_id"))?,
            description: row.description,
            start_at: row.start_at,
            end_at: row.end_at,
            max_runs: row.max_runs,
            next_run_at: row.next_run_at,
            run_count: row.run_count,
            failures_in_a_row: row.failures_in_a_row,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

/// Records a new schedule.
#[tracing::instrument(name = "store.schedules.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    schedule: &Schedule,
) -> Result<(), sqlx::Error> {
    let recurrence = match &schedule.timing {
        Timing::Once => None,
        Timing::Recurring(recurrence) => Some(recurrence),
    };
    let (unit, day) = match recurrence.map(|recurrence| recurrence.unit) {
        None => ("ONCE", None),
        Some(Unit::Day) => ("DAY", None),
        Some(Unit::Week) => ("WEEK", None),
        Some(Unit::Month { day }) => ("MONTH", Some(i16::from(day))),
    };
    let (missed, failures) = (schedule.missed, schedule.failures);
    sqlx::query!(
        "INSERT INTO schedules (
             schedule_id, tenant_id, initiator_user_id, from_wallet_id, to_wallet_id,
             currency_code, amount_minor, description, start_at, unit, every, day_of_month,
             time_of_day, time_zone, anchor_date, end_at, max_runs, missed_rule, missed_after_s,
             catch_up_limit, max_retries, retry_interval_s, pause_after, state, next_run_at,
             created_at, updated_at, version, tier
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $21, $22, $23, $24, $25, $26, $26, $27, $28)",
        schedule.id.uuid(),
        schedule.tenant.as_str(),
        schedule.initiator.uuid(),
        schedule.from.uuid(),
        schedule.to.uuid(),
        schedule.amount.currency().code(),
        schedule.amount.minor(),
        schedule.description,
        schedule.start_at,
        unit,
        recurrence.map(|recurrence| small(recurrence.interval)),
        day,
        recurrence.map(|recurrence| recurrence.time_of_day),
        recurrence.map(|recurrence| recurrence.zone.name()),
        recurrence.map(|recurrence| recurrence.anchor),
        schedule.end_at,
        schedule.max_runs,
        missed.rule.name(),
        whole(missed.after),
        small(missed.catch_up_limit),
        small(failures.max_retries),
        whole(failures.retry_interval),
        small(failures.pause_after),
        schedule.state.name(),
        schedule.next_run_at,
        schedule.created_at,
        schedule.version,
        i16::from(schedule.tier),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes where a schedule is now. Only for whoever has locked its row.
#[tracing::instrument(name = "store.schedules.update", skip_all)]
pub(crate) async fn update(
    conn: &mut PgConnection,
    schedule: &Schedule,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE schedules
         SET state = $2, pause_cause = $3, next_run_at = $4, run_count = $5,
             failures_in_a_row = $6, updated_at = $7, version = $8, tier = $9
         WHERE schedule_id = $1",
        schedule.id.uuid(),
        schedule.state.name(),
        schedule.state.pause_cause().map(PauseCause::name),
        schedule.next_run_at,
        schedule.run_count,
        schedule.failures_in_a_row,
        schedule.updated_at,
        schedule.version,
        i16::from(schedule.tier),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The schedule of an id.
#[tracing::instrument(name = "store.schedules.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: ScheduleId,
) -> Result<Option<Schedule>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT schedule_id, tenant_id, initiator_user_id, tier, from_wallet_id, to_wallet_id,
             currency_code, amount_minor, description, start_at, unit, every, day_of_month,
             time_of_day, time_zone, anchor_date, end_at, max_runs, missed_rule, missed_after_s,
             catch_up_limit, max_retries, retry_interval_s, pause_after, state, pause_cause,
             next_run_at, run_count, failures_in_a_row, created_at, updated_at, version
         FROM schedules
         WHERE schedule_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(Schedule::try_from)
    .transpose()
}

/// Locks the row of a schedule; false when there is none.
#[tracing::instrument(name = "store.schedules.lock", skip_all)]
pub(crate) async fn lock(conn: &mut PgConnection, id: ScheduleId) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "SELECT version FROM schedules WHERE schedule_id = $1 FOR UPDATE",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Schedules, newest first: a user's, or everybody's. A page goes on behind an id.
#[tracing::instrument(name = "store.schedules.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: Option<UserId>,
    before: Option<ScheduleId>,
    limit: i64,
) -> Result<Vec<Schedule>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT schedule_id, tenant_id, initiator_user_id, tier, from_wallet_id, to_wallet_id,
             currency_code, amount_minor, description, start_at, unit, every, day_of_month,
             time_of_day, time_zone, anchor_date, end_at, max_runs, missed_rule, missed_after_s,
             catch_up_limit, max_retries, retry_interval_s, pause_after, state, pause_cause,
             next_run_at, run_count, failures_in_a_row, created_at, updated_at, version
         FROM schedules
         WHERE tenant_id = $1
           AND ($2::uuid IS NULL OR initiator_user_id = $2)
           AND ($3::uuid IS NULL OR schedule_id < $3)
         ORDER BY schedule_id DESC
         LIMIT $4",
        tenant.as_str(),
        user.map(UserId::uuid),
        before.map(ScheduleId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Schedule::try_from)
    .collect()
}

/// How many schedules of a user's are not over. Whoever counts makes others of the same
/// user wait until its database transaction ends, so that the count holds until then.
#[tracing::instrument(name = "store.schedules.count_living", skip_all)]
pub(crate) async fn count_living(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: UserId,
) -> Result<i64, sqlx::Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('schedules of ' || $1::text, 0))",
        user.to_string(),
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
           FROM schedules
           WHERE initiator_user_id = $1 AND tenant_id = $2 AND state IN ('ACTIVE', 'PAUSED')"#,
        user.uuid(),
        tenant.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// A small number, which the contract bounds far below the column's end.
fn small(number: u16) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

fn whole(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn seconds(number: i32) -> Option<Duration> {
    Some(Duration::from_secs(u64::try_from(number).ok()?))
}

#[cfg(test)]
mod tests;
