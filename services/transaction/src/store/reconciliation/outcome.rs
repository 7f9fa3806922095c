//! Writes what matching has found.

use std::collections::HashMap;

use bursar_aip::id::{BreakId, TransactionId};
use sqlx::PgConnection;
use time::Date;
use uuid::Uuid;

use super::candidates::Books;
use crate::reconciliation::{Found, Line, LineId, Match, Reason, Recorded};
use crate::store::unreadable;

/// Who resolves what explains itself, and its words.
const RESOLVER: &str = "service:transaction";
const MATCHED_LATER_NOTE: &str = "a later line or state explained it";

/// What some writing has changed, for the counts that operators see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Lines that were matched.
    pub(crate) matched_lines: usize,
    /// Lines that belong to nothing.
    pub(crate) broken_lines: usize,
    /// The reasons of breaks that are open now and were not before.
    pub(crate) opened: Vec<Reason>,
    /// The reasons of breaks that explained themselves.
    pub(crate) closed: Vec<Reason>,
}

/// A break that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) id: BreakId,
    /// Whether it was not open before. Of two who tell the same new break at the same
    /// moment, both may think so.
    pub(crate) is_opened: bool,
}

/// A break that is to be told, or told again.
#[derive(Clone, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) reason: Reason,
    /// What it is about.
    pub(crate) subject: String,
    pub(crate) settlement_date: Date,
    /// The file that shows it.
    pub(crate) file: Uuid,
    pub(crate) line: Option<&'a Line>,
    pub(crate) recorded: Option<&'a Recorded>,
}

/// Records matches, and resolves the breaks that they explain.
#[tracing::instrument(name = "store.settlement_outcome.matched", skip_all)]
pub(crate) async fn matched(
    conn: &mut PgConnection,
    books: Books<'_>,
    matches: &[Match],
    recorded: &HashMap<TransactionId, &Recorded>,
    changed: &mut Changed,
) -> Result<(), sqlx::Error> {
    if matches.is_empty() {
        return Ok(());
    }
    let mut ids = Vec::new();
    let mut files = Vec::new();
    let mut rules = Vec::new();
    let mut lines = Joined::default();
    let mut transactions = Transactions::default();
    for found in matches {
        let id = Uuid::now_v7();
        let Some(first) = found.lines.first() else {
            continue;
        };
        ids.push(id);
        files.push(first.file.uuid());
        rules.push(found.rule.clone());
        for line in &found.lines {
            lines.push(*line, id);
        }
        for transaction in &found.transactions {
            if let Some(recorded) = recorded.get(transaction) {
                transactions.push(recorded, id, first.file.uuid());
            }
        }
    }
    sqlx::query!(
        "INSERT INTO settlement_matches (match_id, tenant_id, file_id, rule)
         SELECT match_id, $1, file_id, rule
         FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS given (match_id, file_id, rule)",
        books.tenant.as_str(),
        &ids,
        &files,
        &rules,
    )
    .execute(&mut *conn)
    .await?;
    transactions.insert(conn, books).await?;
    let closed = resolve_explained(conn, books, &transactions, &lines).await?;
    changed.closed.extend(closed);
    changed.matched_lines += lines.ends.len();
    sqlx::query!(
        "UPDATE settlement_lines AS lines
         SET state = 'MATCHED', match_id = given.match_id, break_id = NULL
         FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS given (file_id, line, match_id)
         WHERE lines.file_id = given.file_id AND lines.line = given.line",
        &lines.files,
        &lines.numbers,
        &lines.ends,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The transactions of matches, column by column.
#[derive(Default)]
struct Transactions {
    ids: Vec<Uuid>,
    subjects: Vec<String>,
    matches: Vec<Uuid>,
    files: Vec<Uuid>,
    currencies: Vec<String>,
    amounts: Vec<i64>,
}

impl Transactions {
    fn push(&mut self, recorded: &Recorded, id: Uuid, file: Uuid) {
        self.ids.push(recorded.id.uuid());
        self.subjects.push(recorded.id.to_string());
        self.matches.push(id);
        self.files.push(file);
        self.currencies.push(recorded.currency.code().to_owned());
        self.amounts.push(recorded.amount_minor);
    }

    async fn insert(&self, conn: &mut PgConnection, books: Books<'_>) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "INSERT INTO settlement_match_transactions
                 (transaction_id, source, match_id, file_id, currency_code, amount_minor)
             SELECT transaction_id, $1, match_id, file_id, currency_code, amount_minor
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[])
                 AS given (transaction_id, match_id, file_id, currency_code, amount_minor)",
            books.source.name(),
            &self.ids,
            &self.matches,
            &self.files,
            &self.currencies,
            &self.amounts,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Lines and where each of them ends, column by column.
#[derive(Default)]
struct Joined {
    files: Vec<Uuid>,
    numbers: Vec<i64>,
    ends: Vec<Uuid>,
}

impl Joined {
    fn push(&mut self, line: LineId, end: Uuid) {
        self.files.push(line.file.uuid());
        self.numbers.push(line.number);
        self.ends.push(end);
    }
}

async fn resolve_explained(
    conn: &mut PgConnection,
    books: Books<'_>,
    transactions: &Transactions,
    lines: &Joined,
) -> Result<Vec<Reason>, sqlx::Error> {
    let closed = sqlx::query_scalar!(
        "UPDATE settlement_breaks
         SET state = 'RESOLVED', resolution = 'MATCHED_LATER', note = $6, resolved_by = $7,
             resolved_at = clock_timestamp()
         WHERE state = 'OPEN' AND tenant_id = $1 AND provider = $2
           AND (
               subject = ANY($3)
               OR break_id IN (
                   SELECT lines.break_id
                   FROM unnest($4::uuid[], $5::bigint[]) AS given (file_id, line)
                   JOIN settlement_lines AS lines USING (file_id, line)
                   WHERE lines.break_id IS NOT NULL
               )
           )
         RETURNING reason",
        books.tenant.as_str(),
        books.provider.as_str(),
        &transactions.subjects,
        &lines.files,
        &lines.numbers,
        MATCHED_LATER_NOTE,
        RESOLVER,
    )
    .fetch_all(conn)
    .await?;
    reasons(&closed)
}

fn reasons(names: &[String]) -> Result<Vec<Reason>, sqlx::Error> {
    names
        .iter()
        .map(|name| Reason::parse(name).ok_or_else(|| unreadable("reason")))
        .collect()
}

/// Records the breaks of lines.
#[tracing::instrument(name = "store.settlement_outcome.broken", skip_all)]
pub(crate) async fn broken(
    conn: &mut PgConnection,
    books: Books<'_>,
    found: &[Found],
    lines: &HashMap<LineId, (&Line, Date)>,
    recorded: &HashMap<TransactionId, &Recorded>,
    changed: &mut Changed,
) -> Result<(), sqlx::Error> {
    let mut joined = Joined::default();
    for found in found {
        let Some(&(line, settlement_date)) = lines.get(&found.line) else {
            continue;
        };
        let told = Told {
            reason: found.reason,
            subject: found.subject.to_string(),
            settlement_date,
            file: found.line.file.uuid(),
            line: Some(line),
            recorded: found
                .transaction
                .and_then(|transaction| recorded.get(&transaction).copied()),
        };
        let standing = tell(&mut *conn, books, &told).await?;
        joined.push(found.line, standing.id.uuid());
        if standing.is_opened {
            changed.opened.push(found.reason);
        }
    }
    if joined.ends.is_empty() {
        return Ok(());
    }
    changed.broken_lines += joined.ends.len();
    // A line may come to be about something else, once we know more.
    let closed = sqlx::query_scalar!(
        "UPDATE settlement_breaks AS breaks
         SET state = 'RESOLVED', resolution = 'MATCHED_LATER', note = $4, resolved_by = $5,
             resolved_at = clock_timestamp()
         FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS given (file_id, line, break_id)
         JOIN settlement_lines AS lines USING (file_id, line)
         WHERE breaks.break_id = lines.break_id AND lines.break_id <> given.break_id
           AND breaks.state = 'OPEN'
         RETURNING breaks.reason",
        &joined.files,
        &joined.numbers,
        &joined.ends,
        MATCHED_LATER_NOTE,
        RESOLVER,
    )
    .fetch_all(&mut *conn)
    .await?;
    changed.closed.extend(reasons(&closed)?);
    sqlx::query!(
        "UPDATE settlement_lines AS lines
         SET state = 'BROKEN', break_id = given.break_id
         FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS given (file_id, line, break_id)
         WHERE lines.file_id = given.file_id AND lines.line = given.line",
        &joined.files,
        &joined.numbers,
        &joined.ends,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Tells a break, or that it was seen again. One that an operator resolved stays
/// resolved; one that had explained itself is open again.
#[tracing::instrument(name = "store.settlement_outcome.tell", skip_all)]
pub(crate) async fn tell(
    conn: &mut PgConnection,
    books: Books<'_>,
    told: &Told<'_>,
) -> Result<Standing, sqlx::Error> {
    let (line, recorded) = (told.line, told.recorded);
    let written = sqlx::query!(
        r#"WITH before AS (
             SELECT state
             FROM settlement_breaks
             WHERE tenant_id = $2 AND provider = $3 AND subject = $4
         )
         INSERT INTO settlement_breaks AS breaks
             (break_id, tenant_id, provider, subject, reason, settlement_date, file_id, line,
              reference, provider_reference, type_word, line_type, line_currency,
              line_gross_minor, line_occurred_at, transaction_id, transaction_type,
              transaction_currency, transaction_minor, transaction_state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20)
         ON CONFLICT ON CONSTRAINT settlement_breaks_subject DO UPDATE
         SET last_seen_at = clock_timestamp(),
             state = 'OPEN', resolution = NULL, note = NULL, resolved_by = NULL,
             resolved_at = NULL, reason = EXCLUDED.reason,
             settlement_date = EXCLUDED.settlement_date, file_id = EXCLUDED.file_id,
             line = EXCLUDED.line, reference = EXCLUDED.reference,
             provider_reference = EXCLUDED.provider_reference, type_word = EXCLUDED.type_word,
             line_type = EXCLUDED.line_type, line_currency = EXCLUDED.line_currency,
             line_gross_minor = EXCLUDED.line_gross_minor,
             line_occurred_at = EXCLUDED.line_occurred_at,
             transaction_id = EXCLUDED.transaction_id,
             transaction_type = EXCLUDED.transaction_type,
             transaction_currency = EXCLUDED.transaction_currency,
             transaction_minor = EXCLUDED.transaction_minor,
             transaction_state = EXCLUDED.transaction_state
         WHERE breaks.state = 'OPEN' OR breaks.resolution = 'MATCHED_LATER'
         RETURNING break_id, (SELECT state FROM before) IS DISTINCT FROM 'OPEN' AS "is_opened!""#,
        Uuid::now_v7(),
        books.tenant.as_str(),
        books.provider.as_str(),
        told.subject,
        told.reason.name(),
        told.settlement_date,
        told.file,
        line.map(|line| line.id.number),
        line.map(|line| line.reference.as_str()),
        line.map(|line| line.provider_reference.as_str()),
        line.map(|line| line.type_word.as_str()),
        line.map(|line| line.kind.name()),
        line.map(|line| line.currency.code()),
        line.map(|line| line.gross_minor),
        line.map(|line| line.occurred_at),
        recorded.map(|recorded| recorded.id.uuid()),
        recorded.map(|recorded| recorded.kind.name()),
        recorded.map(|recorded| recorded.currency.code()),
        recorded.map(|recorded| recorded.amount_minor),
        recorded.map(|recorded| recorded.state.as_str()),
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(written) = written {
        return Ok(Standing {
            id: BreakId::from_uuid(written.break_id),
            is_opened: written.is_opened,
        });
    }
    let id = sqlx::query_scalar!(
        "UPDATE settlement_breaks
         SET last_seen_at = clock_timestamp()
         WHERE tenant_id = $1 AND provider = $2 AND subject = $3
         RETURNING break_id",
        books.tenant.as_str(),
        books.provider.as_str(),
        told.subject,
    )
    .fetch_one(conn)
    .await?;
    Ok(Standing {
        id: BreakId::from_uuid(id),
        is_opened: false,
    })
}
