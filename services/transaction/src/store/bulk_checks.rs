//! The checks of bulk transfers under way, and the leases on them. They work as
//! those of single transactions do: see [`super::checks`].

use std::time::Duration;

use bursar_aip::id::{BulkTransferId, TenantId};
use bursar_status::correlation::CorrelationId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{interval, unreadable};

/// A lease on a bulk transfer.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// The bulk transfer.
    pub(crate) bulk: BulkTransferId,
    /// The change of hands under which it was got.
    pub(crate) epoch: i64,
    /// How often recovery has looked.
    pub(crate) attempts: u32,
    /// What joins it with the request that began it.
    pub(crate) correlation: Option<CorrelationId>,
}

struct Row {
    bulk_transfer_id: Uuid,
    lease_epoch: i64,
    attempts: i32,
    correlation_id: String,
}

impl TryFrom<Row> for Lease {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            bulk: BulkTransferId::from_uuid(row.bulk_transfer_id),
            epoch: row.lease_epoch,
            attempts: u32::try_from(row.attempts).map_err(|_| unreadable("attempts"))?,
            correlation: CorrelationId::parse(&row.correlation_id),
        })
    }
}

/// Records the check of a new bulk transfer, with the first lease.
#[tracing::instrument(name = "store.bulk_checks.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    tenant: &TenantId,
    bulk: BulkTransferId,
    holder: Uuid,
    lease: Duration,
    correlation: &CorrelationId,
) -> Result<Lease, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "INSERT INTO bulk_transfer_checks (
             bulk_transfer_id, tenant_id, next_check_at, lease_holder, lease_until, correlation_id
         )
         VALUES ($1, $2, clock_timestamp() + $3, $4, clock_timestamp() + $3, $5)
         RETURNING bulk_transfer_id, lease_epoch, attempts, correlation_id",
        bulk.uuid(),
        tenant.as_str(),
        interval(lease),
        holder,
        correlation.as_str(),
    )
    .fetch_one(conn)
    .await?
    .try_into()
}

/// Takes the lease of one bulk transfer, if nobody holds it.
#[tracing::instrument(name = "store.bulk_checks.take", skip_all)]
pub(crate) async fn take(
    conn: &mut PgConnection,
    bulk: BulkTransferId,
    holder: Uuid,
    lease: Duration,
) -> Result<Option<Lease>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "UPDATE bulk_transfer_checks
         SET lease_holder = $2, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + $3, next_check_at = clock_timestamp() + $3
         WHERE bulk_transfer_id = $1 AND lease_until <= clock_timestamp()
         RETURNING bulk_transfer_id, lease_epoch, attempts, correlation_id",
        bulk.uuid(),
        holder,
        interval(lease),
    )
    .fetch_optional(conn)
    .await?
    .map(Lease::try_from)
    .transpose()
}

/// Takes the leases of at most `limit` bulk transfers whose check is due.
#[tracing::instrument(name = "store.bulk_checks.take_due", skip_all)]
pub(crate) async fn take_due(
    conn: &mut PgConnection,
    holder: Uuid,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Lease>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "UPDATE bulk_transfer_checks
         SET lease_holder = $1, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + $2, next_check_at = clock_timestamp() + $2,
             attempts = attempts + 1
         WHERE bulk_transfer_id IN (
             SELECT bulk_transfer_id
             FROM bulk_transfer_checks
             WHERE next_check_at <= clock_timestamp() AND lease_until <= clock_timestamp()
             ORDER BY next_check_at
             LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         RETURNING bulk_transfer_id, lease_epoch, attempts, correlation_id",
        holder,
        interval(lease),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Lease::try_from)
    .collect()
}

/// Locks the check, if the lease is still ours; false when it is not. The first
/// statement of every write of a run is this, [`release`] or [`remove`].
#[tracing::instrument(name = "store.bulk_checks.fence", skip_all)]
pub(crate) async fn fence(conn: &mut PgConnection, lease: &Lease) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "SELECT lease_epoch FROM bulk_transfer_checks WHERE bulk_transfer_id = $1 FOR UPDATE",
        lease.bulk.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found == Some(lease.epoch))
}

/// Gives the lease back and sets the next check, if it is still ours; false when
/// it is not.
#[tracing::instrument(name = "store.bulk_checks.release", skip_all)]
pub(crate) async fn release(
    conn: &mut PgConnection,
    lease: &Lease,
    next_check_in: Duration,
) -> Result<bool, sqlx::Error> {
    let released = sqlx::query!(
        "UPDATE bulk_transfer_checks
         SET lease_until = clock_timestamp(), next_check_at = clock_timestamp() + $3
         WHERE bulk_transfer_id = $1 AND lease_epoch = $2",
        lease.bulk.uuid(),
        lease.epoch,
        interval(next_check_in),
    )
    .execute(conn)
    .await?;
    Ok(released.rows_affected() == 1)
}

/// Removes the check of a bulk transfer that is over, if the lease is still ours;
/// false when it is not.
#[tracing::instrument(name = "store.bulk_checks.remove", skip_all)]
pub(crate) async fn remove(conn: &mut PgConnection, lease: &Lease) -> Result<bool, sqlx::Error> {
    let removed = sqlx::query!(
        "DELETE FROM bulk_transfer_checks WHERE bulk_transfer_id = $1 AND lease_epoch = $2",
        lease.bulk.uuid(),
        lease.epoch,
    )
    .execute(conn)
    .await?;
    Ok(removed.rows_affected() == 1)
}

/// How many bulk transfers are under way.
pub(crate) async fn count(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM bulk_transfer_checks"#)
        .fetch_one(conn)
        .await
}
