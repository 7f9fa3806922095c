//! The audit trail in the database: appended to under the lock of its chain,
//! never changed.
//!
//! Lock order: whatever the transaction holds already, then the chain's row in
//! `audit_chains`, as the last lock. Transactions that append to one chain so
//! wait for each other and never for one another.

use bursar_aip::id::TenantId;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::audit::{GENESIS, Hash, Head, Line};
use crate::store::plan_for_values;

/// Which lines a list has. Empty options let every line pass.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The tenant.
    pub tenant: TenantId,
    /// Only what happened so.
    pub kind: Option<String>,
    /// Only what happened to this.
    pub subject: Option<String>,
    /// Only what this request caused.
    pub correlation_id: Option<String>,
    /// Only what this actor caused.
    pub actor: Option<String>,
    /// Only lines before this position.
    pub before: Option<i64>,
}

/// A line as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where it is in its tenant's chain.
    pub position: i64,
    /// The line.
    pub line: Line,
}

struct Row {
    position: i64,
    event_id: Uuid,
    source: String,
    kind: String,
    subject: String,
    subject_version: i64,
    actor: String,
    correlation_id: String,
    occurred_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
    data: String,
}

impl Row {
    fn into_recorded(self, tenant: &TenantId) -> Recorded {
        Recorded {
            position: self.position,
            line: Line {
                tenant: tenant.clone(),
                event_id: self.event_id,
                source: self.source,
                kind: self.kind,
                subject: self.subject,
                subject_version: self.subject_version,
                actor: self.actor,
                correlation_id: self.correlation_id,
                occurred_at: self.occurred_at,
                recorded_at: self.recorded_at,
                data: self.data,
            },
        }
    }
}

/// Appends a line to its tenant's chain. Returns false, and changes nothing,
/// when the trail has a line of that event already.
#[tracing::instrument(name = "store.audit_events.append", skip_all, fields(event = %line.event_id))]
pub async fn append(connection: &mut PgConnection, line: &Line) -> Result<bool, sqlx::Error> {
    let head = lock_chain(connection, &line.tenant).await?;
    let hash: Hash = Sha256::digest(head.encode_next(line)).into();
    let position = head.position + 1;
    // One statement, because others wait for the lock meanwhile.
    let done = sqlx::query!(
        "WITH line AS (
             INSERT INTO audit_events (tenant_id, position, event_id, source, type, subject,
                                       subject_version, actor, correlation_id, occurred_at,
                                       recorded_at, data, previous_hash, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT ON CONSTRAINT audit_events_event_id_key DO NOTHING
             RETURNING tenant_id, position, hash
         )
         UPDATE audit_chains SET position = line.position, hash = line.hash
         FROM line WHERE audit_chains.tenant_id = line.tenant_id",
        line.tenant.as_str(),
        position,
        line.event_id,
        line.source,
        line.kind,
        line.subject,
        line.subject_version,
        line.actor,
        line.correlation_id,
        line.occurred_at,
        line.recorded_at,
        line.data,
        head.hash.as_slice(),
        hash.as_slice(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Where the tenant's chain ends, locked until the transaction ends. Relies on
/// READ COMMITTED: a transaction that waited for the lock sees the end that
/// the one before it left.
async fn lock_chain(connection: &mut PgConnection, tenant: &TenantId) -> Result<Head, sqlx::Error> {
    if let Some(head) = find_and_lock_chain(connection, tenant).await? {
        return Ok(head);
    }
    sqlx::query!(
        "INSERT INTO audit_chains (tenant_id, position, hash) VALUES ($1, $2, $3)
         ON CONFLICT ON CONSTRAINT audit_chains_pkey DO NOTHING",
        tenant.as_str(),
        Head::EMPTY.position,
        GENESIS.as_slice(),
    )
    .execute(&mut *connection)
    .await?;
    find_and_lock_chain(connection, tenant)
        .await?
        .ok_or(sqlx::Error::RowNotFound)
}

async fn find_and_lock_chain(
    connection: &mut PgConnection,
    tenant: &TenantId,
) -> Result<Option<Head>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT position, hash FROM audit_chains WHERE tenant_id = $1 FOR UPDATE",
        tenant.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let hash = Hash::try_from(row.hash).map_err(|_| {
            sqlx::Error::Decode("the constraint audit_chains_hash_length does not hold".into())
        })?;
        Ok(Head {
            position: row.position,
            hash,
        })
    })
    .transpose()
}

/// At most `limit` lines, newest first. Runs in a transaction of the caller's.
#[tracing::instrument(name = "store.audit_events.list", skip_all)]
pub async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Recorded>, sqlx::Error> {
    plan_for_values(connection).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT position, event_id, source, type AS "kind", subject, subject_version, actor,
                  correlation_id, occurred_at, recorded_at, data
           FROM audit_events
           WHERE tenant_id = $1
             AND ($2::text IS NULL OR type = $2)
             AND ($3::text IS NULL OR subject = $3)
             AND ($4::text IS NULL OR correlation_id = $4)
             AND ($5::text IS NULL OR actor = $5)
             AND ($6::bigint IS NULL OR position < $6)
           ORDER BY position DESC
           LIMIT $7"#,
        filter.tenant.as_str(),
        filter.kind.as_deref(),
        filter.subject.as_deref(),
        filter.correlation_id.as_deref(),
        filter.actor.as_deref(),
        filter.before,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| row.into_recorded(&filter.tenant))
        .collect())
}
