//! The checks of transactions under way, and the leases on them.
//!
//! All times are the database's, so that a clock that is wrong somewhere else
//! gives nobody a lease too early. A lease says who works on a transaction; its
//! epoch, which grows with every change of hands, is what every write is bound
//! to. A run whose lease has lapsed may still write while nobody has taken it
//! over, and cannot once somebody has.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bursar_aip::id::{TenantId, TransactionId};
use bursar_server::canary;
use bursar_status::correlation::CorrelationId;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{interval, unreadable};
use crate::domain::{Note, Refusal};

/// A lease on a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// The transaction.
    pub(crate) transaction: TransactionId,
    /// The change of hands under which it was got.
    pub(crate) epoch: i64,
    /// What the last run left.
    pub(crate) note: Option<Note>,
    /// How often recovery has looked.
    pub(crate) attempts: u32,
    /// How many callbacks there had been.
    pub(crate) nudges: i32,
    /// What joins it with the request that began it.
    pub(crate) correlation: Option<CorrelationId>,
}

struct Row {
    transaction_id: Uuid,
    lease_epoch: i64,
    note: Option<String>,
    attempts: i32,
    nudges: i32,
    correlation_id: String,
}

impl TryFrom<Row> for Lease {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            transaction: TransactionId::from_uuid(row.transaction_id),
            epoch: row.lease_epoch,
            note: row.note.as_deref().map(decode).transpose()?,
            attempts: u32::try_from(row.attempts).map_err(|_| unreadable("attempts"))?,
            nudges: row.nudges,
            correlation: CorrelationId::parse(&row.correlation_id),
        })
    }
}

const UNSENT: &str = "unsent";

fn encode(note: Note) -> String {
    match note {
        Note::Unsent => UNSENT.to_owned(),
        Note::Refused(refusal) => refusal.encode(),
    }
}

fn decode(text: &str) -> Result<Note, sqlx::Error> {
    match text {
        UNSENT => Ok(Note::Unsent),
        refusal => Refusal::decode(refusal)
            .map(Note::Refused)
            .ok_or_else(|| unreadable("note")),
    }
}

/// Records the check of a new transaction, with the first lease.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    tenant: &TenantId,
    transaction: TransactionId,
    holder: Uuid,
    lease: Duration,
    correlation: &CorrelationId,
) -> Result<Lease, sqlx::Error> {
    let new = New {
        tenant,
        transaction,
        lease,
        correlation,
    };
    let leases = insert_all(conn, &[new], holder).await?;
    leases.into_iter().next().ok_or(sqlx::Error::RowNotFound)
}

/// A transaction whose check is to be recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) transaction: TransactionId,
    /// For how long the first lease is.
    pub(crate) lease: Duration,
    pub(crate) correlation: &'a CorrelationId,
}

/// Records the checks of new transactions, with the first leases, in their order.
#[tracing::instrument(name = "store.checks.insert_all", skip_all)]
pub(crate) async fn insert_all(
    conn: &mut PgConnection,
    new: &[New<'_>],
    holder: Uuid,
) -> Result<Vec<Lease>, sqlx::Error> {
    let tenants: Vec<&str> = new.iter().map(|one| one.tenant.as_str()).collect();
    let ids: Vec<Uuid> = new.iter().map(|one| one.transaction.uuid()).collect();
    let leases: Vec<PgInterval> = new.iter().map(|one| interval(one.lease)).collect();
    let correlations: Vec<&str> = new.iter().map(|one| one.correlation.as_str()).collect();
    let rows = sqlx::query_as!(
        Row,
        "INSERT INTO transaction_checks (
             transaction_id, tenant_id, next_check_at, lease_holder, lease_until, correlation_id
         )
         SELECT transaction_id, tenant_id, clock_timestamp() + lease, $5,
             clock_timestamp() + lease, correlation_id
         FROM UNNEST($1::uuid[], $2::text[], $3::interval[], $4::text[])
             AS new (transaction_id, tenant_id, lease, correlation_id)
         RETURNING transaction_id, lease_epoch, note, attempts, nudges, correlation_id",
        &ids,
        &tenants as &[&str],
        &leases,
        &correlations as &[&str],
        holder,
    )
    .fetch_all(conn)
    .await?;
    let mut leases = HashMap::with_capacity(rows.len());
    for row in rows {
        leases.insert(row.transaction_id, Lease::try_from(row)?);
    }
    ids.iter()
        .map(|id| leases.remove(id).ok_or(sqlx::Error::RowNotFound))
        .collect()
}

/// Takes the lease of one transaction, if nobody holds it.
#[tracing::instrument(name = "store.checks.take", skip_all)]
pub(crate) async fn take(
    conn: &mut PgConnection,
    transaction: TransactionId,
    holder: Uuid,
    lease: Duration,
) -> Result<Option<Lease>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "UPDATE transaction_checks
         SET lease_holder = $2, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + $3, next_check_at = clock_timestamp() + $3
         WHERE transaction_id = $1 AND lease_until <= clock_timestamp()
         RETURNING transaction_id, lease_epoch, note, attempts, nudges, correlation_id",
        transaction.uuid(),
        holder,
        interval(lease),
    )
    .fetch_optional(conn)
    .await?
    .map(Lease::try_from)
    .transpose()
}

/// Takes the leases of at most `limit` transactions whose check is due.
#[tracing::instrument(name = "store.checks.take_due", skip_all)]
pub(crate) async fn take_due(
    conn: &mut PgConnection,
    holder: Uuid,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Lease>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "UPDATE transaction_checks
         SET lease_holder = $1, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + $2, next_check_at = clock_timestamp() + $2,
             attempts = attempts + 1
         WHERE transaction_id IN (
             SELECT transaction_id
             FROM transaction_checks
             WHERE next_check_at <= clock_timestamp() AND lease_until <= clock_timestamp()
             ORDER BY next_check_at
             LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         RETURNING transaction_id, lease_epoch, note, attempts, nudges, correlation_id",
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

/// Writes the note, if the lease is still ours; false when it is not. This is
/// the first statement of every write of a run: it locks the row.
#[tracing::instrument(name = "store.checks.fence", skip_all)]
pub(crate) async fn fence(
    conn: &mut PgConnection,
    lease: &Lease,
    note: Option<Note>,
) -> Result<bool, sqlx::Error> {
    let fenced = sqlx::query!(
        "UPDATE transaction_checks SET note = $3 WHERE transaction_id = $1 AND lease_epoch = $2",
        lease.transaction.uuid(),
        lease.epoch,
        note.map(encode),
    )
    .execute(conn)
    .await?;
    Ok(fenced.rows_affected() == 1 || canary!("lease.epoch_ignored"))
}

/// Gives the lease back and sets the next check, if it is still ours; false
/// when it is not. A callback that came meanwhile brings the check forward.
#[tracing::instrument(name = "store.checks.release", skip_all)]
pub(crate) async fn release(
    conn: &mut PgConnection,
    lease: &Lease,
    note: Option<Note>,
    next_check_in: Duration,
) -> Result<bool, sqlx::Error> {
    let released = sqlx::query!(
        "UPDATE transaction_checks
         SET note = $3, lease_until = clock_timestamp(),
             next_check_at = CASE WHEN nudges = $4 THEN clock_timestamp() + $5
                                  ELSE clock_timestamp() END
         WHERE transaction_id = $1 AND lease_epoch = $2",
        lease.transaction.uuid(),
        lease.epoch,
        note.map(encode),
        lease.nudges,
        interval(next_check_in),
    )
    .execute(conn)
    .await?;
    Ok(released.rows_affected() == 1)
}

/// Removes the check of a transaction that is at rest, if the lease is still
/// ours; false when it is not.
pub(crate) async fn remove(conn: &mut PgConnection, lease: &Lease) -> Result<bool, sqlx::Error> {
    Ok(remove_all(conn, &[lease]).await? == [true])
}

/// Removes the checks of transactions that are at rest; says of each whether its
/// lease was still ours. No transaction may be there twice.
#[tracing::instrument(name = "store.checks.remove_all", skip_all)]
pub(crate) async fn remove_all(
    conn: &mut PgConnection,
    leases: &[&Lease],
) -> Result<Vec<bool>, sqlx::Error> {
    let ids: Vec<Uuid> = leases
        .iter()
        .map(|lease| lease.transaction.uuid())
        .collect();
    let epochs: Vec<i64> = leases.iter().map(|lease| lease.epoch).collect();
    let removed: HashSet<Uuid> = sqlx::query_scalar!(
        "DELETE FROM transaction_checks
         USING UNNEST($1::uuid[], $2::bigint[]) AS ours (transaction_id, lease_epoch)
         WHERE transaction_checks.transaction_id = ours.transaction_id
           AND transaction_checks.lease_epoch = ours.lease_epoch
         RETURNING transaction_checks.transaction_id",
        &ids,
        &epochs,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .collect();
    Ok(ids.iter().map(|id| removed.contains(id)).collect())
}

/// Lets a transaction that a person has decided about be looked at at once, unless
/// somebody works on it; false then. One at rest gets its check back. Its epoch is
/// the time, which is above every epoch that was counted before the check went, so
/// that a run from then cannot write. The note is gone: the decision says more.
#[tracing::instrument(name = "store.checks.reopen", skip_all)]
pub(crate) async fn reopen(
    conn: &mut PgConnection,
    tenant: &TenantId,
    transaction: TransactionId,
    holder: Uuid,
    correlation: &CorrelationId,
) -> Result<bool, sqlx::Error> {
    let reopened = sqlx::query!(
        "INSERT INTO transaction_checks AS checks (
             transaction_id, tenant_id, next_check_at, lease_holder, lease_epoch, lease_until,
             correlation_id
         )
         VALUES ($1, $2, clock_timestamp(), $3,
             (extract(epoch FROM clock_timestamp()) * 1000)::bigint, clock_timestamp(), $4)
         ON CONFLICT (transaction_id) DO UPDATE
         SET next_check_at = clock_timestamp(), lease_holder = excluded.lease_holder,
             lease_epoch = checks.lease_epoch + 1, attempts = 0, note = NULL
         WHERE checks.lease_until <= clock_timestamp()",
        transaction.uuid(),
        tenant.as_str(),
        holder,
        correlation.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(reopened.rows_affected() == 1)
}

/// Removes the check of a transaction that a person has ended.
#[tracing::instrument(name = "store.checks.close", skip_all)]
pub(crate) async fn close(
    conn: &mut PgConnection,
    transaction: TransactionId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM transaction_checks WHERE transaction_id = $1",
        transaction.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Brings the check of a transaction forward to now.
#[tracing::instrument(name = "store.checks.nudge", skip_all)]
pub(crate) async fn nudge(
    conn: &mut PgConnection,
    transaction: TransactionId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transaction_checks
         SET nudges = nudges + 1, next_check_at = least(next_check_at, clock_timestamp())
         WHERE transaction_id = $1",
        transaction.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many transactions are under way in a state, and since when the oldest of
/// those with an unknown outcome is.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    pub(crate) state: String,
    pub(crate) transactions: i64,
    pub(crate) oldest_unknown_since: Option<OffsetDateTime>,
}

/// Counts the transactions under way by state.
pub(crate) async fn count(conn: &mut PgConnection) -> Result<Vec<Count>, sqlx::Error> {
    sqlx::query_as!(
        Count,
        r#"SELECT transactions.state, count(*) AS "transactions!",
             min(transactions.unknown_since) AS oldest_unknown_since
         FROM transaction_checks JOIN transactions USING (transaction_id)
         GROUP BY transactions.state"#,
    )
    .fetch_all(conn)
    .await
}
