//! Settlement files and who works on them.

use std::time::Duration;

use bursar_aip::id::{SettlementFileId, TenantId};
use bursar_server::database;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::{FileState, Lease, Source, StoredProblem};
use crate::domain::ProviderName;
use crate::store::unreadable;

/// A file that begins to be read.
#[derive(Clone, Debug)]
pub(crate) struct NewFile {
    pub(crate) id: SettlementFileId,
    pub(crate) tenant: TenantId,
    pub(crate) provider: ProviderName,
    pub(crate) source: Source,
    pub(crate) name: String,
    pub(crate) settlement_date: Date,
    pub(crate) imported_by: String,
}

/// A file as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFile {
    pub(crate) id: SettlementFileId,
    pub(crate) tenant: TenantId,
    pub(crate) provider: ProviderName,
    pub(crate) source: Source,
    pub(crate) name: String,
    pub(crate) settlement_date: Date,
    pub(crate) state: FileState,
    pub(crate) sha256: Option<Vec<u8>>,
    pub(crate) bytes: i64,
    pub(crate) lines: i64,
    pub(crate) problem: Option<StoredProblem>,
    pub(crate) imported_by: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) reconciled_at: Option<OffsetDateTime>,
    /// The last group of lines that is matched.
    pub(crate) matched_through: String,
}

/// What was read of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) sha256: [u8; 32],
    pub(crate) bytes: i64,
    pub(crate) lines: i64,
}

/// What became of a file that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// Its lines count now.
    Yes,
    /// The same content counts already.
    AlreadyImported,
    /// Somebody else has given it up.
    Superseded,
}

struct Row {
    file_id: Uuid,
    tenant_id: String,
    provider: String,
    source: String,
    file_name: String,
    settlement_date: Date,
    state: String,
    sha256: Option<Vec<u8>>,
    bytes: i64,
    lines: i64,
    problem_line: Option<i64>,
    problem_column: Option<String>,
    problem_code: Option<String>,
    problem_message: Option<String>,
    imported_by: String,
    created_at: OffsetDateTime,
    reconciled_at: Option<OffsetDateTime>,
    matched_through: String,
}

impl TryFrom<Row> for StoredFile {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let problem = match (row.problem_line, row.problem_column, row.problem_code) {
            (Some(line), Some(column), Some(code)) => Some(StoredProblem {
                line,
                column,
                code,
                message: row.problem_message.unwrap_or_default(),
            }),
            _ => None,
        };
        Ok(Self {
            id: SettlementFileId::from_uuid(row.file_id),
            tenant: row.tenant_id.parse().map_err(|_| unreadable("tenant_id"))?,
            provider: row.provider.parse().map_err(|_| unreadable("provider"))?,
            source: Source::parse(&row.source).ok_or_else(|| unreadable("source"))?,
            name: row.file_name,
            settlement_date: row.settlement_date,
            state: FileState::parse(&row.state).ok_or_else(|| unreadable("state"))?,
            sha256: row.sha256,
            bytes: row.bytes,
            lines: row.lines,
            problem,
            imported_by: row.imported_by,
            created_at: row.created_at,
            reconciled_at: row.reconciled_at,
            matched_through: row.matched_through,
        })
    }
}

/// Records a file that begins to be read; `None` when its day is listed already.
#[tracing::instrument(name = "store.settlement_files.begin", skip_all)]
pub(crate) async fn begin(
    conn: &mut PgConnection,
    file: &NewFile,
    lease: Duration,
) -> Result<Option<Lease>, sqlx::Error> {
    let epoch = sqlx::query_scalar!(
        "INSERT INTO settlement_files
             (file_id, tenant_id, provider, source, file_name, settlement_date, state,
              imported_by, lease_until)
         VALUES ($1, $2, $3, $4, $5, $6, 'IMPORTING', $7,
             clock_timestamp() + make_interval(secs => $8))
         ON CONFLICT DO NOTHING
         RETURNING lease_epoch",
        file.id.uuid(),
        file.tenant.as_str(),
        file.provider.as_str(),
        file.source.name(),
        file.name,
        file.settlement_date,
        file.imported_by,
        lease.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(epoch.map(|epoch| Lease {
        file: file.id,
        epoch,
    }))
}

/// Keeps the lease, if it is still ours; false when it is not. This is the first
/// statement of every write to a file: it locks the row.
#[tracing::instrument(name = "store.settlement_files.keep", skip_all)]
pub(crate) async fn keep(
    conn: &mut PgConnection,
    lease: Lease,
    length: Duration,
) -> Result<bool, sqlx::Error> {
    let kept = sqlx::query!(
        "UPDATE settlement_files
         SET lease_until = clock_timestamp() + make_interval(secs => $3)
         WHERE file_id = $1 AND lease_epoch = $2 AND state IN ('IMPORTING', 'RECONCILING')",
        lease.file.uuid(),
        lease.epoch,
        length.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// Lets a file's lines count, and leaves it to be matched at once. After
/// `AlreadyImported` the database transaction is to be rolled back.
#[tracing::instrument(name = "store.settlement_files.complete", skip_all)]
pub(crate) async fn complete(
    conn: &mut PgConnection,
    lease: Lease,
    content: &Content,
) -> Result<Completed, sqlx::Error> {
    let completed = sqlx::query!(
        "UPDATE settlement_files
         SET state = 'RECONCILING', sha256 = $3, bytes = $4, lines = $5,
             lease_epoch = lease_epoch + 1, lease_until = clock_timestamp()
         WHERE file_id = $1 AND lease_epoch = $2 AND state = 'IMPORTING'",
        lease.file.uuid(),
        lease.epoch,
        content.sha256.as_slice(),
        content.bytes,
        content.lines,
    )
    .execute(conn)
    .await;
    match completed {
        Ok(completed) if completed.rows_affected() == 1 => Ok(Completed::Yes),
        Ok(_) => Ok(Completed::Superseded),
        Err(error) if database::constraint(&error) == Some("settlement_files_content") => {
            Ok(Completed::AlreadyImported)
        }
        Err(error) => Err(error),
    }
}

/// Gives a file up that is being read; false when somebody else has.
#[tracing::instrument(name = "store.settlement_files.fail", skip_all)]
pub(crate) async fn fail(
    conn: &mut PgConnection,
    lease: Lease,
    problem: &StoredProblem,
    bytes: i64,
) -> Result<bool, sqlx::Error> {
    let failed = sqlx::query!(
        "UPDATE settlement_files
         SET state = 'FAILED', problem_line = $3, problem_column = $4, problem_code = $5,
             problem_message = $6, bytes = $7, lease_epoch = lease_epoch + 1
         WHERE file_id = $1 AND lease_epoch = $2 AND state = 'IMPORTING'",
        lease.file.uuid(),
        lease.epoch,
        problem.line,
        problem.column,
        problem.code,
        problem.message,
        bytes,
    )
    .execute(conn)
    .await?;
    Ok(failed.rows_affected() == 1)
}

/// The file of an id.
#[tracing::instrument(name = "store.settlement_files.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: SettlementFileId,
) -> Result<Option<StoredFile>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT file_id, tenant_id, provider, source, file_name, settlement_date, state, sha256,
             bytes, lines, problem_line, problem_column, problem_code, problem_message,
             imported_by, created_at, reconciled_at, matched_through
         FROM settlement_files
         WHERE file_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(StoredFile::try_from)
    .transpose()
}

/// The file whose content counts.
#[tracing::instrument(name = "store.settlement_files.find_content", skip_all)]
pub(crate) async fn find_content(
    conn: &mut PgConnection,
    tenant: &TenantId,
    provider: &ProviderName,
    sha256: &[u8; 32],
) -> Result<Option<StoredFile>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT file_id, tenant_id, provider, source, file_name, settlement_date, state, sha256,
             bytes, lines, problem_line, problem_column, problem_code, problem_message,
             imported_by, created_at, reconciled_at, matched_through
         FROM settlement_files
         WHERE tenant_id = $1 AND provider = $2 AND sha256 = $3
           AND source = 'FILE' AND state IN ('RECONCILING', 'RECONCILED')",
        tenant.as_str(),
        provider.as_str(),
        sha256.as_slice(),
    )
    .fetch_optional(conn)
    .await?
    .map(StoredFile::try_from)
    .transpose()
}

/// Which files a list has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) provider: Option<&'a str>,
    pub(crate) state: Option<FileState>,
    pub(crate) before: Option<SettlementFileId>,
    pub(crate) limit: i64,
}

/// A page of files, newest first.
#[tracing::instrument(name = "store.settlement_files.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    wanted: Wanted<'_>,
) -> Result<Vec<StoredFile>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT file_id, tenant_id, provider, source, file_name, settlement_date, state, sha256,
             bytes, lines, problem_line, problem_column, problem_code, problem_message,
             imported_by, created_at, reconciled_at, matched_through
         FROM settlement_files
         WHERE tenant_id = $1
           AND ($2::text IS NULL OR provider = $2)
           AND ($3::text IS NULL OR state = $3)
           AND ($4::uuid IS NULL OR file_id < $4)
           AND problem_code IS DISTINCT FROM 'already_imported'
         ORDER BY file_id DESC
         LIMIT $5",
        wanted.tenant.as_str(),
        wanted.provider,
        wanted.state.map(FileState::name),
        wanted.before.map(SettlementFileId::uuid),
        wanted.limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(StoredFile::try_from)
    .collect()
}

/// The first of these days for which the provider's list was not read and not
/// tried a short time ago; `None` when there is none.
#[tracing::instrument(name = "store.settlement_files.unlisted", skip_all)]
pub(crate) async fn unlisted(
    conn: &mut PgConnection,
    tenant: &TenantId,
    provider: &ProviderName,
    days: &[Date],
    retry_after: Duration,
) -> Result<Option<Date>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT min(wanted.day) AS "day"
         FROM unnest($3::date[]) AS wanted (day)
         WHERE NOT EXISTS (
             SELECT FROM settlement_files AS files
             WHERE files.tenant_id = $1 AND files.provider = $2 AND files.source = 'LIST'
               AND files.settlement_date = wanted.day
               AND (
                   files.state <> 'FAILED'
                   OR files.created_at > clock_timestamp() - make_interval(secs => $4)
               )
         )"#,
        tenant.as_str(),
        provider.as_str(),
        days,
        retry_after.as_secs_f64(),
    )
    .fetch_one(conn)
    .await
}
