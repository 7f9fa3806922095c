//! The transactions that lines may mean, and those that no line means.

use bursar_aip::id::{TenantId, TransactionId};
use bursar_money::Currency;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Source;
use crate::domain::ProviderName;
use crate::reconciliation::line::day;
use crate::reconciliation::{Line, LineType, Recorded, Standing};
use crate::store::unreadable;

/// The most transactions that a page of lines is held against.
const MAX_CANDIDATES: i64 = 50_000;

/// Whose transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Books<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) provider: &'a ProviderName,
    /// Lines of which source stand for a transaction.
    pub(crate) source: Source,
}

struct Row {
    transaction_id: Uuid,
    kind: String,
    state: String,
    currency_code: String,
    amount_minor: i64,
    provider_reference: Option<String>,
    settled_at: OffsetDateTime,
    is_taken: bool,
}

impl Row {
    /// `None` for a kind in which no provider takes part.
    fn recorded(self) -> Result<Option<Recorded>, sqlx::Error> {
        let Some(kind) = LineType::of_transaction(&self.kind) else {
            return Ok(None);
        };
        Ok(Some(Recorded {
            id: TransactionId::from_uuid(self.transaction_id),
            provider_reference: self.provider_reference,
            kind,
            currency: Currency::parse(&self.currency_code)
                .map_err(|_| unreadable("currency_code"))?,
            amount_minor: self.amount_minor,
            standing: match &*self.state {
                "COMPLETED" => Standing::Completed,
                "FAILED" | "MANUAL_REVIEW" => Standing::Other,
                _ => Standing::UnderWay,
            },
            state: self.state,
            day: day(self.settled_at),
            is_taken: self.is_taken,
        }))
    }
}

/// The transactions that lines name, by our reference or by the provider's.
#[tracing::instrument(name = "store.settlement_candidates.named", skip_all)]
pub(crate) async fn named(
    conn: &mut PgConnection,
    books: Books<'_>,
    lines: &[Line],
) -> Result<Vec<Recorded>, sqlx::Error> {
    let ids: Vec<Uuid> = lines
        .iter()
        .filter_map(|line| Some(line.transaction()?.uuid()))
        .collect();
    let references: Vec<String> = lines
        .iter()
        .flat_map(|line| [&line.provider_reference, &line.batch_reference])
        .filter(|reference| !reference.is_empty())
        .cloned()
        .collect();
    sqlx::query_as!(
        Row,
        r#"SELECT transactions.transaction_id AS "transaction_id!", transactions.kind AS "kind!",
             transactions.state AS "state!", transactions.currency_code AS "currency_code!",
             transactions.amount_minor AS "amount_minor!", transactions.provider_reference,
             coalesce(transactions.posted_at, transactions.updated_at) AS "settled_at!",
             taken.transaction_id IS NOT NULL AS "is_taken!"
         FROM (
             SELECT transaction_id FROM transactions WHERE transaction_id = ANY($3)
             UNION
             SELECT transaction_id FROM transactions
             WHERE provider = $2 AND provider_reference = ANY($4)
         ) AS named
         JOIN transactions USING (transaction_id)
         LEFT JOIN settlement_match_transactions AS taken
             ON taken.transaction_id = transactions.transaction_id AND taken.source = $5
         WHERE transactions.tenant_id = $1 AND transactions.provider = $2
         ORDER BY transactions.transaction_id
         LIMIT $6"#,
        books.tenant.as_str(),
        books.provider.as_str(),
        &ids,
        &references,
        books.source.name(),
        MAX_CANDIDATES,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .filter_map(|row| row.recorded().transpose())
    .collect()
}

/// Completed transactions of a span of time that no line means and that have no
/// break which still counts: at most `limit`.
#[tracing::instrument(name = "store.settlement_candidates.missing", skip_all)]
pub(crate) async fn missing(
    conn: &mut PgConnection,
    books: Books<'_>,
    from: OffsetDateTime,
    to: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Recorded>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT transaction_id, kind, state, currency_code, amount_minor, provider_reference,
             posted_at AS "settled_at!", false AS "is_taken!"
         FROM transactions
         WHERE tenant_id = $1 AND provider = $2 AND posted_at >= $3 AND posted_at < $4
           AND kind IN ('deposit', 'withdrawal', 'refund')
           AND NOT EXISTS (
               SELECT FROM settlement_match_transactions AS taken
               WHERE taken.transaction_id = transactions.transaction_id AND taken.source = $5
           )
           AND NOT EXISTS (
               SELECT FROM settlement_breaks AS told
               WHERE told.transaction_id = transactions.transaction_id
                 AND told.reason <> 'DUPLICATE_LINE'
                 AND (told.state = 'OPEN' OR told.resolution <> 'MATCHED_LATER')
           )
         ORDER BY posted_at, transaction_id
         LIMIT $6"#,
        books.tenant.as_str(),
        books.provider.as_str(),
        from,
        to,
        books.source.name(),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .filter_map(|row| row.recorded().transpose())
    .collect()
}
