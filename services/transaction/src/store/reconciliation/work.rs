//! Who works on a settlement file, once its reader has ended or died.

use std::time::Duration;

use bursar_aip::id::SettlementFileId;
use sqlx::PgConnection;

use super::{Lease, StoredProblem};

/// Gives up, at most `limit`, the files whose readers have died.
#[tracing::instrument(name = "store.settlement_work.fail_lapsed", skip_all)]
pub(crate) async fn fail_lapsed(conn: &mut PgConnection, limit: i64) -> Result<u64, sqlx::Error> {
    let interrupted = StoredProblem::interrupted();
    let failed = sqlx::query!(
        "UPDATE settlement_files
         SET state = 'FAILED', problem_line = 0, problem_column = '', problem_code = $1,
             problem_message = $2, lease_epoch = lease_epoch + 1
         WHERE file_id IN (
             SELECT file_id
             FROM settlement_files
             WHERE state = 'IMPORTING' AND lease_until < clock_timestamp()
             ORDER BY lease_until
             LIMIT $3
             FOR UPDATE SKIP LOCKED
         )",
        interrupted.code,
        interrupted.message,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(failed.rows_affected())
}

/// Takes the oldest file that is to be matched and that nobody works on. Files
/// of one provider and source are matched one after the other, in their order.
#[tracing::instrument(name = "store.settlement_work.claim", skip_all)]
pub(crate) async fn claim(
    conn: &mut PgConnection,
    length: Duration,
) -> Result<Option<Lease>, sqlx::Error> {
    let claimed = sqlx::query!(
        "UPDATE settlement_files
         SET lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + make_interval(secs => $1)
         WHERE file_id = (
             SELECT file_id
             FROM settlement_files AS files
             WHERE state = 'RECONCILING' AND lease_until <= clock_timestamp()
               AND NOT EXISTS (
                   SELECT FROM settlement_files AS earlier
                   WHERE earlier.state = 'RECONCILING'
                     AND earlier.tenant_id = files.tenant_id
                     AND earlier.provider = files.provider
                     AND earlier.file_id < files.file_id
               )
             ORDER BY file_id
             LIMIT 1
             FOR UPDATE SKIP LOCKED
         )
         RETURNING file_id, lease_epoch",
        length.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(claimed.map(|row| Lease {
        file: SettlementFileId::from_uuid(row.file_id),
        epoch: row.lease_epoch,
    }))
}

/// Records how far matching has come and keeps the lease, if it is still ours;
/// false when it is not. The first statement of what it stands for.
#[tracing::instrument(name = "store.settlement_work.advance", skip_all)]
pub(crate) async fn advance(
    conn: &mut PgConnection,
    lease: Lease,
    through: &str,
    length: Duration,
) -> Result<bool, sqlx::Error> {
    let advanced = sqlx::query!(
        "UPDATE settlement_files
         SET matched_through = $3, lease_until = clock_timestamp() + make_interval(secs => $4)
         WHERE file_id = $1 AND lease_epoch = $2 AND state = 'RECONCILING'",
        lease.file.uuid(),
        lease.epoch,
        through,
        length.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(advanced.rows_affected() == 1)
}

/// Ends the matching of a file; false when somebody else has it.
#[tracing::instrument(name = "store.settlement_work.finish", skip_all)]
pub(crate) async fn finish(conn: &mut PgConnection, lease: Lease) -> Result<bool, sqlx::Error> {
    let finished = sqlx::query!(
        "UPDATE settlement_files
         SET state = 'RECONCILED', reconciled_at = clock_timestamp()
         WHERE file_id = $1 AND lease_epoch = $2 AND state = 'RECONCILING'",
        lease.file.uuid(),
        lease.epoch,
    )
    .execute(conn)
    .await?;
    Ok(finished.rows_affected() == 1)
}
