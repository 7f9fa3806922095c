//! The exchange rates.

use bursar_aip::id::{ExchangeRateId, TenantId};
use bursar_money::Currency;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::unreadable;
use crate::domain::ExchangeRate;

/// A rate with what does not matter to the arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRate {
    /// The rate.
    pub(crate) rate: ExchangeRate,
    /// Who entered it.
    pub(crate) created_by: String,
    /// When it was entered.
    pub(crate) created_at: OffsetDateTime,
}

struct Row {
    exchange_rate_id: Uuid,
    from_currency_code: String,
    to_currency_code: String,
    rate: String,
    spread_basis_points: i32,
    source: String,
    observed_at: OffsetDateTime,
    created_by: String,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for StoredRate {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let currency =
            |code: &str| Currency::parse(code).map_err(|_| unreadable("from_currency_code"));
        Ok(Self {
            rate: ExchangeRate {
                id: ExchangeRateId::from_uuid(row.exchange_rate_id),
                from: currency(&row.from_currency_code)?,
                to: currency(&row.to_currency_code)?,
                rate: row.rate.parse().map_err(|_| unreadable("rate"))?,
                spread_basis_points: row.spread_basis_points,
                source: row.source,
                observed_at: row.observed_at,
            },
            created_by: row.created_by,
            created_at: row.created_at,
        })
    }
}

/// Records a new rate.
#[tracing::instrument(name = "store.rates.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    tenant: &TenantId,
    stored: &StoredRate,
) -> Result<(), sqlx::Error> {
    let rate = &stored.rate;
    sqlx::query!(
        "INSERT INTO exchange_rates (
             exchange_rate_id, tenant_id, from_currency_code, to_currency_code, rate,
             spread_basis_points, source, observed_at, created_by, created_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        rate.id.uuid(),
        tenant.as_str(),
        rate.from.code(),
        rate.to.code(),
        rate.rate.to_string(),
        rate.spread_basis_points,
        rate.source,
        rate.observed_at,
        stored.created_by,
        stored.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The latest rate of a pair of currencies, be it as old as it may; of two of one
/// time the one that was entered last.
#[tracing::instrument(name = "store.rates.latest", skip_all)]
pub(crate) async fn latest(
    conn: &mut PgConnection,
    tenant: &TenantId,
    from: Currency,
    to: Currency,
) -> Result<Option<StoredRate>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT exchange_rate_id, from_currency_code, to_currency_code, rate,
             spread_basis_points, source, observed_at, created_by, created_at
         FROM exchange_rates
         WHERE tenant_id = $1 AND from_currency_code = $2 AND to_currency_code = $3
         ORDER BY observed_at DESC, exchange_rate_id DESC
         LIMIT 1",
        tenant.as_str(),
        from.code(),
        to.code(),
    )
    .fetch_optional(conn)
    .await?
    .map(StoredRate::try_from)
    .transpose()
}

/// A page of a tenant's rates, last entered first, behind an id.
#[tracing::instrument(name = "store.rates.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    tenant: &TenantId,
    from: Option<Currency>,
    to: Option<Currency>,
    before: Option<ExchangeRateId>,
    limit: i64,
) -> Result<Vec<StoredRate>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT exchange_rate_id, from_currency_code, to_currency_code, rate,
             spread_basis_points, source, observed_at, created_by, created_at
         FROM exchange_rates
         WHERE tenant_id = $1
           AND ($2::text IS NULL OR from_currency_code = $2)
           AND ($3::text IS NULL OR to_currency_code = $3)
           AND ($4::uuid IS NULL OR exchange_rate_id < $4)
         ORDER BY exchange_rate_id DESC
         LIMIT $5",
        tenant.as_str(),
        from.map(Currency::code),
        to.map(Currency::code),
        before.map(ExchangeRateId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(StoredRate::try_from)
    .collect()
}
