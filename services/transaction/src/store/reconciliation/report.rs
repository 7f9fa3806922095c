//! Sums over lines, matches and breaks.

use bursar_aip::id::{SettlementFileId, TenantId};
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::Source;
use crate::reconciliation::Reason;
use crate::store::unreadable;

/// The least and the greatest age in days of each bucket of open breaks; no
/// greatest one for the last.
pub(crate) const AGES: [(i32, Option<i32>); 4] =
    [(0, Some(0)), (1, Some(7)), (8, Some(30)), (31, None)];

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) sums: Vec<Sums>,
    pub(crate) broken_lines: i64,
    pub(crate) pending_lines: i64,
    pub(crate) matched_transactions: i64,
    pub(crate) missing_transactions: i64,
    pub(crate) breaks: Vec<Count>,
    /// How many open breaks are of each of [`AGES`].
    pub(crate) ages: [i64; AGES.len()],
}

/// The sums of one currency; a sum beyond 64 bits is the largest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) currency_code: String,
    pub(crate) lines: i64,
    pub(crate) gross_minor: i64,
    pub(crate) fee_minor: i64,
    pub(crate) net_minor: i64,
    pub(crate) matched_lines: i64,
    pub(crate) matched_gross_minor: i64,
    pub(crate) matched_transactions_minor: i64,
}

/// How many breaks have a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) reason: Reason,
    pub(crate) open: i64,
    pub(crate) resolved: i64,
}

/// What waits, of all tenants and providers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// The open breaks, by reason.
    pub(crate) open: Vec<OpenBreaks>,
    /// The files and lists, by source.
    pub(crate) runs: Vec<Runs>,
}

/// The open breaks of a reason, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenBreaks {
    pub(crate) reason: Reason,
    pub(crate) breaks: i64,
    /// When the oldest of them was first seen.
    pub(crate) oldest: OffsetDateTime,
}

/// The files, or the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) source: Source,
    /// How many are being read or matched.
    pub(crate) files_under_way: i64,
    /// When one was last matched to its end.
    pub(crate) last_reconciled_at: Option<OffsetDateTime>,
}

/// Counts what waits. Open breaks have an index of their own; files are few.
#[tracing::instrument(name = "store.settlement_report.backlog", skip_all)]
pub(crate) async fn backlog(conn: &mut PgConnection) -> Result<Backlog, sqlx::Error> {
    let breaks = sqlx::query!(
        r#"SELECT reason, count(*) AS "breaks!", min(first_seen_at) AS "oldest!"
         FROM settlement_breaks
         WHERE state = 'OPEN'
         GROUP BY reason"#,
    )
    .fetch_all(&mut *conn)
    .await?;
    let files = sqlx::query!(
        r#"SELECT source,
             count(*) FILTER (WHERE state IN ('IMPORTING', 'RECONCILING')) AS "under_way!",
             max(reconciled_at) AS last_reconciled_at
         FROM settlement_files
         GROUP BY source"#,
    )
    .fetch_all(conn)
    .await?;
    let open = breaks.into_iter().map(|row| {
        Ok(OpenBreaks {
            reason: Reason::parse(&row.reason).ok_or_else(|| unreadable("reason"))?,
            breaks: row.breaks,
            oldest: row.oldest,
        })
    });
    let runs = files.into_iter().map(|row| {
        Ok(Runs {
            source: Source::parse(&row.source).ok_or_else(|| unreadable("source"))?,
            files_under_way: row.under_way,
            last_reconciled_at: row.last_reconciled_at,
        })
    });
    Ok(Backlog {
        open: open.collect::<Result<_, sqlx::Error>>()?,
        runs: runs.collect::<Result<_, sqlx::Error>>()?,
    })
}

/// The files of a provider's day whose lines count.
#[tracing::instrument(name = "store.settlement_report.files_of_day", skip_all)]
pub(crate) async fn files_of_day(
    conn: &mut PgConnection,
    tenant: &TenantId,
    provider: &str,
    day: Date,
    source: Source,
) -> Result<Vec<SettlementFileId>, sqlx::Error> {
    let files = sqlx::query_scalar!(
        "SELECT file_id
         FROM settlement_files
         WHERE tenant_id = $1 AND provider = $2 AND settlement_date = $3 AND source = $4
           AND state IN ('RECONCILING', 'RECONCILED')
         ORDER BY file_id
         LIMIT 1000",
        tenant.as_str(),
        provider,
        day,
        source.name(),
    )
    .fetch_all(conn)
    .await?;
    Ok(files.into_iter().map(SettlementFileId::from_uuid).collect())
}

/// The report of files whose lines count.
#[tracing::instrument(name = "store.settlement_report.read", skip_all)]
pub(crate) async fn read(
    conn: &mut PgConnection,
    files: &[SettlementFileId],
) -> Result<Report, sqlx::Error> {
    let files: Vec<Uuid> = files.iter().map(|file| file.uuid()).collect();
    let states = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE state = 'BROKEN') AS "broken!",
             count(*) FILTER (WHERE state = 'PENDING') AS "pending!"
         FROM settlement_lines
         WHERE file_id = ANY($1)"#,
        &files,
    )
    .fetch_one(&mut *conn)
    .await?;
    let matched = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM settlement_match_transactions WHERE file_id = ANY($1)"#,
        &files,
    )
    .fetch_one(&mut *conn)
    .await?;
    let mut report = Report {
        sums: sums(&mut *conn, &files).await?,
        broken_lines: states.broken,
        pending_lines: states.pending,
        matched_transactions: matched,
        ..Report::default()
    };
    count_breaks(conn, &files, &mut report).await?;
    Ok(report)
}

async fn sums(conn: &mut PgConnection, files: &[Uuid]) -> Result<Vec<Sums>, sqlx::Error> {
    sqlx::query_as!(
        Sums,
        r#"SELECT lines.currency_code AS "currency_code!", count(*) AS "lines!",
             greatest(least(sum(lines.gross_minor), 9223372036854775807),
                 -9223372036854775807)::bigint AS "gross_minor!",
             greatest(least(sum(lines.fee_minor), 9223372036854775807),
                 -9223372036854775807)::bigint AS "fee_minor!",
             greatest(least(sum(lines.net_minor), 9223372036854775807),
                 -9223372036854775807)::bigint AS "net_minor!",
             count(*) FILTER (WHERE lines.state = 'MATCHED') AS "matched_lines!",
             greatest(least(coalesce(
                 sum(lines.gross_minor) FILTER (WHERE lines.state = 'MATCHED'), 0
             ), 9223372036854775807), -9223372036854775807)::bigint AS "matched_gross_minor!",
             (
                 SELECT least(coalesce(sum(matched.amount_minor), 0), 9223372036854775807)::bigint
                 FROM settlement_match_transactions AS matched
                 WHERE matched.file_id = ANY($1) AND matched.currency_code = lines.currency_code
             ) AS "matched_transactions_minor!"
         FROM settlement_lines AS lines
         WHERE lines.file_id = ANY($1)
         GROUP BY lines.currency_code
         ORDER BY lines.currency_code"#,
        files,
    )
    .fetch_all(conn)
    .await
}

/// The breaks of the files' lines and of the transactions that they do not have.
async fn count_breaks(
    conn: &mut PgConnection,
    files: &[Uuid],
    report: &mut Report,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT reason, count(*) FILTER (WHERE state = 'OPEN') AS "open!",
             count(*) FILTER (WHERE state = 'RESOLVED') AS "resolved!",
             count(*) FILTER (WHERE state = 'OPEN' AND age = 0) AS "today!",
             count(*) FILTER (WHERE state = 'OPEN' AND age BETWEEN 1 AND 7) AS "week!",
             count(*) FILTER (WHERE state = 'OPEN' AND age BETWEEN 8 AND 30) AS "month!",
             count(*) FILTER (WHERE state = 'OPEN' AND age > 30) AS "older!"
         FROM (
             SELECT breaks.reason, breaks.state,
                 floor(extract(epoch FROM clock_timestamp() - breaks.first_seen_at) / 86400) AS age
             FROM settlement_breaks AS breaks
             WHERE breaks.break_id IN (
                 SELECT break_id FROM settlement_lines
                 WHERE file_id = ANY($1) AND break_id IS NOT NULL
                 UNION
                 SELECT break_id FROM settlement_breaks WHERE file_id = ANY($1)
             )
         ) AS seen
         GROUP BY reason
         ORDER BY reason"#,
        files,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let reason = Reason::parse(&row.reason).ok_or_else(|| unreadable("reason"))?;
        if reason == Reason::MissingAtProvider {
            report.missing_transactions += row.open;
        }
        let ages = [row.today, row.week, row.month, row.older];
        for (total, count) in report.ages.iter_mut().zip(ages) {
            *total += count;
        }
        report.breaks.push(Count {
            reason,
            open: row.open,
            resolved: row.resolved,
        });
    }
    Ok(())
}
