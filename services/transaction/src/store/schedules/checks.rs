//! The checks of schedules, and the leases on them. They work as those of single
//! transactions do: see [`crate::store::checks`]. A check may go and come back, so the
//! epoch of a new one is the time, which is above every epoch that was counted before.

use std::time::Duration;

use bursar_aip::id::{ScheduleId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::{interval, unreadable};

/// A lease on a schedule.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// The schedule.
    pub(crate) schedule: ScheduleId,
    /// The change of hands under which it was got.
    pub(crate) epoch: i64,
    /// How often it was looked at since it last got on.
    pub(crate) attempts: u32,
}

/// Lets a schedule be looked at in a while, or brings its check forward to that. This is
/// the first statement of every call that changes a schedule: it locks the row.
#[tracing::instrument(name = "store.schedules.checks.open", skip_all)]
pub(crate) async fn open(
    conn: &mut PgConnection,
    tenant: &TenantId,
    schedule: ScheduleId,
    holder: Uuid,
    check_in: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO schedule_checks AS checks (
             schedule_id, tenant_id, next_check_at, lease_holder, lease_epoch, lease_until
         )
         VALUES ($1, $2, clock_timestamp() + $4, $3,
             (extract(epoch FROM clock_timestamp()) * 1000)::bigint, clock_timestamp())
         ON CONFLICT (schedule_id) DO UPDATE
         SET next_check_at = least(checks.next_check_at, excluded.next_check_at)",
        schedule.uuid(),
        tenant.as_str(),
        holder,
        interval(check_in),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the leases of at most `limit` schedules whose check is due.
#[tracing::instrument(name = "store.schedules.checks.take_due", skip_all)]
pub(crate) async fn take_due(
    conn: &mut PgConnection,
    holder: Uuid,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Lease>, sqlx::Error> {
    let rows = sqlx::query!(
        "UPDATE schedule_checks
         SET lease_holder = $1, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + $2, next_check_at = clock_timestamp() + $2,
             attempts = attempts + 1
         WHERE schedule_id IN (
             SELECT schedule_id
             FROM schedule_checks
             WHERE next_check_at <= statement_timestamp() AND lease_until <= clock_timestamp()
             ORDER BY next_check_at
             LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         RETURNING schedule_id, lease_epoch, attempts",
        holder,
        interval(lease),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Lease {
                schedule: ScheduleId::from_uuid(row.schedule_id),
                epoch: row.lease_epoch,
                attempts: u32::try_from(row.attempts).map_err(|_| unreadable("attempts"))?,
            })
        })
        .collect()
}

/// Makes the lease longer, if it is still ours; false when it is not. This, [`release`]
/// or [`remove`] is the first statement of every write of the job: it locks the row.
#[tracing::instrument(name = "store.schedules.checks.fence", skip_all)]
pub(crate) async fn fence(
    conn: &mut PgConnection,
    lease: &Lease,
    extent: Duration,
) -> Result<bool, sqlx::Error> {
    let fenced = sqlx::query!(
        "UPDATE schedule_checks
         SET lease_until = clock_timestamp() + $3, next_check_at = clock_timestamp() + $3
         WHERE schedule_id = $1 AND lease_epoch = $2",
        lease.schedule.uuid(),
        lease.epoch,
        interval(extent),
    )
    .execute(conn)
    .await?;
    Ok(fenced.rows_affected() == 1)
}

/// Gives the lease back and sets the next check, if it is still ours; false when it is
/// not. Where the schedule got on, the count of looks begins anew.
#[tracing::instrument(name = "store.schedules.checks.release", skip_all)]
pub(crate) async fn release(
    conn: &mut PgConnection,
    lease: &Lease,
    next_check_in: Duration,
    got_on: bool,
) -> Result<bool, sqlx::Error> {
    let released = sqlx::query!(
        "UPDATE schedule_checks
         SET lease_until = clock_timestamp(), next_check_at = clock_timestamp() + $3,
             attempts = CASE WHEN $4 THEN 0 ELSE attempts END
         WHERE schedule_id = $1 AND lease_epoch = $2",
        lease.schedule.uuid(),
        lease.epoch,
        interval(next_check_in),
        got_on,
    )
    .execute(conn)
    .await?;
    Ok(released.rows_affected() == 1)
}

/// Removes the check of a schedule that rests, if the lease is still ours; false when
/// it is not.
#[tracing::instrument(name = "store.schedules.checks.remove", skip_all)]
pub(crate) async fn remove(conn: &mut PgConnection, lease: &Lease) -> Result<bool, sqlx::Error> {
    let removed = sqlx::query!(
        "DELETE FROM schedule_checks WHERE schedule_id = $1 AND lease_epoch = $2",
        lease.schedule.uuid(),
        lease.epoch,
    )
    .execute(conn)
    .await?;
    Ok(removed.rows_affected() == 1)
}

/// How many seconds the check that has been due longest is late; 0 when none is.
pub(crate) async fn lateness_s(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(
               extract(epoch FROM clock_timestamp() - min(greatest(next_check_at, lease_until))), 0
           )::bigint AS "seconds!"
           FROM schedule_checks
           WHERE next_check_at <= statement_timestamp()"#,
    )
    .fetch_one(conn)
    .await
    .map(|seconds| seconds.max(0))
}
