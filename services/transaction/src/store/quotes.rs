//! The quotes.

use bursar_aip::id::{QuoteId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::prices::PriceColumns;
use super::unreadable;
use crate::domain::{MovementKind, Quote};

/// A quote and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredQuote {
    /// The quote.
    pub(crate) quote: Quote,
    /// The tenant it belongs to.
    pub(crate) tenant: TenantId,
}

struct Row {
    quote_id: Uuid,
    tenant_id: String,
    user_id: Uuid,
    kind: String,
    currency_code: String,
    amount_minor: i64,
    from_wallet_id: Option<Uuid>,
    to_wallet_id: Option<Uuid>,
    fee_minor: Option<i64>,
    fee_payer: Option<String>,
    fee_rule_id: Option<Uuid>,
    converted_currency_code: Option<String>,
    converted_minor: Option<i64>,
    fx_rate: Option<String>,
    fx_spread_basis_points: Option<i32>,
    fx_source: Option<String>,
    fx_observed_at: Option<OffsetDateTime>,
    fx_rate_id: Option<Uuid>,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    transaction_id: Option<Uuid>,
}

impl TryFrom<Row> for StoredQuote {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let currency =
            Currency::parse(&row.currency_code).map_err(|_| unreadable("currency_code"))?;
        let price = PriceColumns {
            fee_minor: row.fee_minor,
            fee_payer: row.fee_payer,
            fee_rule_id: row.fee_rule_id,
            converted_currency_code: row.converted_currency_code,
            converted_minor: row.converted_minor,
            fx_rate: row.fx_rate,
            fx_spread_basis_points: row.fx_spread_basis_points,
            fx_source: row.fx_source,
            fx_observed_at: row.fx_observed_at,
            fx_rate_id: row.fx_rate_id,
        };
        Ok(Self {
            quote: Quote {
                id: QuoteId::from_uuid(row.quote_id),
                user: UserId::from_uuid(row.user_id),
                kind: MovementKind::parse(&row.kind).ok_or_else(|| unreadable("kind"))?,
                amount: PositiveMoney::new(currency, row.amount_minor)
                    .map_err(|_| unreadable("amount_minor"))?,
                from: row.from_wallet_id.map(WalletId::from_uuid),
                to: row.to_wallet_id.map(WalletId::from_uuid),
                price: price.read()?,
                created_at: row.created_at,
                expires_at: row.expires_at,
                used_by: row.transaction_id.map(TransactionId::from_uuid),
            },
            tenant: row.tenant_id.parse().map_err(|_| unreadable("tenant_id"))?,
        })
    }
}

/// Records a new quote.
#[tracing::instrument(name = "store.quotes.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    stored: &StoredQuote,
) -> Result<(), sqlx::Error> {
    let quote = &stored.quote;
    let price = PriceColumns::from(&quote.price);
    sqlx::query!(
        "INSERT INTO quotes (
             quote_id, tenant_id, user_id, kind, currency_code, amount_minor, from_wallet_id,
             to_wallet_id, created_at, expires_at, fee_minor, fee_payer, fee_rule_id,
             converted_currency_code, converted_minor, fx_rate, fx_spread_basis_points, fx_source,
             fx_observed_at, fx_rate_id
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20)",
        quote.id.uuid(),
        stored.tenant.as_str(),
        quote.user.uuid(),
        quote.kind.name(),
        quote.amount.currency().code(),
        quote.amount.minor(),
        quote.from.map(WalletId::uuid),
        quote.to.map(WalletId::uuid),
        quote.created_at,
        quote.expires_at,
        price.fee_minor,
        price.fee_payer,
        price.fee_rule_id,
        price.converted_currency_code,
        price.converted_minor,
        price.fx_rate,
        price.fx_spread_basis_points,
        price.fx_source,
        price.fx_observed_at,
        price.fx_rate_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The quote of an id.
#[tracing::instrument(name = "store.quotes.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: QuoteId,
) -> Result<Option<StoredQuote>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT quote_id, tenant_id, user_id, kind, currency_code, amount_minor, from_wallet_id,
             to_wallet_id, fee_minor, fee_payer, fee_rule_id, converted_currency_code,
             converted_minor, fx_rate, fx_spread_basis_points, fx_source, fx_observed_at,
             fx_rate_id, created_at, expires_at, transaction_id
         FROM quotes
         WHERE quote_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(StoredQuote::try_from)
    .transpose()
}

/// Locks quotes, in the order of their ids, so that nobody else uses them before the
/// database transaction ends. Those that are not there are not returned.
#[tracing::instrument(name = "store.quotes.lock", skip_all)]
pub(crate) async fn lock(
    conn: &mut PgConnection,
    ids: &[QuoteId],
) -> Result<Vec<StoredQuote>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query_as!(
        Row,
        "SELECT quote_id, tenant_id, user_id, kind, currency_code, amount_minor, from_wallet_id,
             to_wallet_id, fee_minor, fee_payer, fee_rule_id, converted_currency_code,
             converted_minor, fx_rate, fx_spread_basis_points, fx_source, fx_observed_at,
             fx_rate_id, created_at, expires_at, transaction_id
         FROM quotes
         WHERE quote_id = ANY ($1)
         ORDER BY quote_id
         FOR NO KEY UPDATE",
        &ids,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(StoredQuote::try_from)
    .collect()
}

/// Marks quotes, which are locked, as used by these transactions.
#[tracing::instrument(name = "store.quotes.use_up", skip_all)]
pub(crate) async fn use_up(
    conn: &mut PgConnection,
    used: &[(QuoteId, TransactionId)],
    at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let quotes: Vec<Uuid> = used.iter().map(|(quote, _)| quote.uuid()).collect();
    let transactions: Vec<Uuid> = used.iter().map(|(_, by)| by.uuid()).collect();
    let marked = sqlx::query!(
        "UPDATE quotes
         SET transaction_id = used.transaction_id, used_at = $3
         FROM UNNEST($1::uuid[], $2::uuid[]) AS used (quote_id, transaction_id)
         WHERE quotes.quote_id = used.quote_id AND quotes.transaction_id IS NULL",
        &quotes,
        &transactions,
        at,
    )
    .execute(conn)
    .await?;
    if usize::try_from(marked.rows_affected()).is_ok_and(|rows| rows == used.len()) {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// Deletes at most `limit` quotes that expired unused before a time; how many.
#[tracing::instrument(name = "store.quotes.delete_unused", skip_all)]
pub(crate) async fn delete_unused(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM quotes
         WHERE quote_id IN (
             SELECT quote_id
             FROM quotes
             WHERE transaction_id IS NULL AND expires_at < $1
             ORDER BY expires_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED
         )",
        before,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}
