//! The lines of settlement files.

use bursar_aip::id::{BreakId, SettlementFileId};
use bursar_money::Currency;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::candidates::Books;
use crate::reconciliation::{Line, LineId, LineType, ProblemCode};
use crate::store::unreadable;

struct Row {
    file_id: Uuid,
    line: i64,
    reference: String,
    provider_reference: String,
    batch_reference: String,
    type_word: String,
    line_type: String,
    currency_code: String,
    gross_minor: i64,
    fee_minor: i64,
    net_minor: i64,
    occurred_at: OffsetDateTime,
}

impl TryFrom<Row> for Line {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: LineId {
                file: SettlementFileId::from_uuid(row.file_id),
                number: row.line,
            },
            reference: row.reference,
            provider_reference: row.provider_reference,
            batch_reference: row.batch_reference,
            type_word: row.type_word,
            kind: LineType::parse(&row.line_type).ok_or_else(|| unreadable("line_type"))?,
            currency: Currency::parse(&row.currency_code)
                .map_err(|_| unreadable("currency_code"))?,
            gross_minor: row.gross_minor,
            fee_minor: row.fee_minor,
            net_minor: row.net_minor,
            occurred_at: row.occurred_at,
        })
    }
}

/// Adds lines to a file that is being read, in one statement.
#[tracing::instrument(name = "store.settlement_lines.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    file: SettlementFileId,
    lines: &[Line],
) -> Result<(), sqlx::Error> {
    fn column<T>(lines: &[Line], of: impl Fn(&Line) -> T) -> Vec<T> {
        lines.iter().map(of).collect()
    }
    sqlx::query!(
        "INSERT INTO settlement_lines
             (file_id, line, reference, provider_reference, batch_reference, type_word, line_type,
              currency_code, gross_minor, fee_minor, net_minor, occurred_at, group_key)
         SELECT $1, line, reference, provider_reference, batch_reference, type_word, line_type,
             currency_code, gross_minor, fee_minor, net_minor, occurred_at, group_key
         FROM unnest(
             $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
             $9::bigint[], $10::bigint[], $11::bigint[], $12::timestamptz[], $13::text[]
         ) AS given (
             line, reference, provider_reference, batch_reference, type_word, line_type,
             currency_code, gross_minor, fee_minor, net_minor, occurred_at, group_key
         )",
        file.uuid(),
        &column(lines, |line| line.id.number),
        &column(lines, |line| line.reference.clone()),
        &column(lines, |line| line.provider_reference.clone()),
        &column(lines, |line| line.batch_reference.clone()),
        &column(lines, |line| line.type_word.clone()),
        &column(lines, |line| line.kind.name().to_owned()),
        &column(lines, |line| line.currency.code().to_owned()),
        &column(lines, |line| line.gross_minor),
        &column(lines, |line| line.fee_minor),
        &column(lines, |line| line.net_minor),
        &column(lines, |line| line.occurred_at),
        &column(lines, Line::group_key),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The next lines that are to be matched, by their groups. A group may be cut off
/// at the end.
#[tracing::instrument(name = "store.settlement_lines.pending", skip_all)]
pub(crate) async fn pending(
    conn: &mut PgConnection,
    file: SettlementFileId,
    after: &str,
    limit: i64,
) -> Result<Vec<Line>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT file_id, line, reference, provider_reference, batch_reference, type_word,
             line_type, currency_code, gross_minor, fee_minor, net_minor, occurred_at
         FROM settlement_lines
         WHERE file_id = $1 AND group_key > $2 AND state = 'PENDING'
         ORDER BY group_key, line
         LIMIT $3",
        file.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Line::try_from)
    .collect()
}

/// A line that is looked at again.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// Its break.
    pub(crate) break_id: BreakId,
    /// The day whose settlement it belongs to.
    pub(crate) settlement_date: Date,
    /// The line.
    pub(crate) line: Line,
}

/// The lines of a provider's open breaks, behind a break, that this file did not
/// show. Duplicates stay what they are.
#[tracing::instrument(name = "store.settlement_lines.broken", skip_all)]
pub(crate) async fn broken(
    conn: &mut PgConnection,
    books: Books<'_>,
    file: SettlementFileId,
    after: Option<BreakId>,
    limit: i64,
) -> Result<Vec<Broken>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT breaks.break_id, breaks.settlement_date, lines.file_id, lines.line,
             lines.reference, lines.provider_reference, lines.batch_reference, lines.type_word,
             lines.line_type, lines.currency_code, lines.gross_minor, lines.fee_minor,
             lines.net_minor, lines.occurred_at
         FROM settlement_breaks AS breaks
         JOIN settlement_files AS files USING (file_id)
         JOIN settlement_lines AS lines USING (file_id, line)
         WHERE breaks.tenant_id = $1 AND breaks.provider = $2 AND breaks.state = 'OPEN'
           AND breaks.reason <> 'DUPLICATE_LINE'
           AND files.source = $3 AND files.file_id <> $4
           AND ($5::uuid IS NULL OR breaks.break_id > $5)
         ORDER BY breaks.break_id
         LIMIT $6",
        books.tenant.as_str(),
        books.provider.as_str(),
        books.source.name(),
        file.uuid(),
        after.map(BreakId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let line = Row {
                file_id: row.file_id,
                line: row.line,
                reference: row.reference,
                provider_reference: row.provider_reference,
                batch_reference: row.batch_reference,
                type_word: row.type_word,
                line_type: row.line_type,
                currency_code: row.currency_code,
                gross_minor: row.gross_minor,
                fee_minor: row.fee_minor,
                net_minor: row.net_minor,
                occurred_at: row.occurred_at,
            };
            Ok(Broken {
                break_id: BreakId::from_uuid(row.break_id),
                settlement_date: row.settlement_date,
                line: line.try_into()?,
            })
        })
        .collect()
}

/// Deletes at most `limit` lines of one file that failed; false when there is
/// nothing left to delete.
#[tracing::instrument(name = "store.settlement_lines.purge", skip_all)]
pub(crate) async fn purge(conn: &mut PgConnection, limit: i64) -> Result<bool, sqlx::Error> {
    let file = sqlx::query_scalar!(
        "SELECT file_id
         FROM settlement_files
         WHERE state = 'FAILED' AND NOT is_purged
         ORDER BY file_id
         LIMIT 1
         FOR UPDATE SKIP LOCKED",
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(file) = file else { return Ok(false) };
    let deleted = sqlx::query!(
        "DELETE FROM settlement_lines
         WHERE file_id = $1 AND line IN (
             SELECT line FROM settlement_lines WHERE file_id = $1 ORDER BY line LIMIT $2
         )",
        file,
        limit,
    )
    .execute(&mut *conn)
    .await?;
    if i64::try_from(deleted.rows_affected()).is_ok_and(|deleted| deleted < limit) {
        // Of content that counts already, the second attempt leaves no trace.
        sqlx::query!(
            "DELETE FROM settlement_files WHERE file_id = $1 AND problem_code = $2",
            file,
            ProblemCode::AlreadyImported.name(),
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!(
            "UPDATE settlement_files SET is_purged = true WHERE file_id = $1",
            file,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(true)
}
