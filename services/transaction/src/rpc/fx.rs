//! The operators' service for exchange rates.

use bursar_aip::id::{ExchangeRateId, TenantId};
use bursar_aip::page;
use bursar_contracts::transaction::v1::fx_service_server::FxService;
use bursar_contracts::transaction::v1::{
    ListExchangeRatesRequest, ListExchangeRatesResponse, PutExchangeRateRequest,
    PutExchangeRateResponse,
};
use bursar_money::Currency;
use bursar_server::{Context, detached, now};
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use super::once::{Begun, Once};
use crate::contract;
use crate::domain::ExchangeRate;
use crate::error::Error;
use crate::store::rates::{self, StoredRate};

/// The name of the list in page tokens.
const LIST: &str = "exchange-rates";
/// How far clocks may differ.
const AHEAD: Duration = Duration::MINUTE;

/// The service's handlers.
pub(crate) struct ExchangeRates {
    pool: PgPool,
}

impl ExchangeRates {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[tonic::async_trait]
impl FxService for ExchangeRates {
    async fn put_exchange_rate(
        &self,
        request: Request<PutExchangeRateRequest>,
    ) -> Result<Response<PutExchangeRateResponse>, Status> {
        let context = Context::of(&request)?;
        let message = request.into_inner();
        let once = Once::of(&context, &message);
        let at = now();
        let stored = StoredRate {
            rate: rate(message, at)?,
            created_by: context.caller.actor(),
            created_at: at,
        };
        let (pool, tenant) = (self.pool.clone(), context.caller.tenant.clone());
        detached(put(pool, once, tenant, stored)).await
    }

    async fn list_exchange_rates(
        &self,
        request: Request<ListExchangeRatesRequest>,
    ) -> Result<Response<ListExchangeRatesResponse>, Status> {
        let context = Context::of(&request)?;
        let message = request.into_inner();
        let size = page::size(message.page_size);
        let filter = [&*message.from_currency_code, &*message.to_currency_code];
        let before: Option<ExchangeRateId> = page::decode(LIST, &filter, &message.page_token)?;
        let from = optional(&message.from_currency_code, "from_currency_code")?;
        let to = optional(&message.to_currency_code, "to_currency_code")?;
        let mut conn = self.pool.acquire().await.map_err(Error::from)?;
        let tenant = &context.caller.tenant;
        // One more than asked for tells whether there is a next page.
        let mut found = rates::list(&mut conn, tenant, from, to, before, size + 1)
            .await
            .map_err(Error::from)?;
        let next_page_token = page::cut(&mut found, size)
            .map(|last| page::encode(LIST, &filter, &last.rate.id))
            .unwrap_or_default();
        Ok(Response::new(ListExchangeRatesResponse {
            exchange_rates: found.iter().map(contract::exchange_rate).collect(),
            next_page_token,
        }))
    }
}

async fn put(
    pool: PgPool,
    once: Once,
    tenant: TenantId,
    stored: StoredRate,
) -> Result<Response<PutExchangeRateResponse>, Status> {
    let mut open = match once.begin(&pool).await? {
        Begun::First(open) => open,
        Begun::Before(answer) => return answer.into_result(),
    };
    rates::insert(&mut open.database, &tenant, &stored)
        .await
        .map_err(Error::from)?;
    let exchange_rate = Some(contract::exchange_rate(&stored));
    let response = open
        .finish(PutExchangeRateResponse { exchange_rate })
        .await?;
    tracing::warn!(
        exchange_rate_id = %stored.rate.id,
        operator = stored.created_by,
        "an operator has entered an exchange rate"
    );
    Ok(response)
}

fn rate(message: PutExchangeRateRequest, at: OffsetDateTime) -> Result<ExchangeRate, Error> {
    let from = currency(&message.from_currency_code, "from_currency_code")?;
    let to = currency(&message.to_currency_code, "to_currency_code")?;
    let invalid = |field| Error::FieldInvalid { field };
    if from == to {
        return Err(invalid("to_currency_code"));
    }
    let observed_at = match &message.observed_at {
        None => at,
        Some(told) => contract::instant(told)
            .filter(|told| (OffsetDateTime::UNIX_EPOCH..=at + AHEAD).contains(told))
            .map(to_microseconds)
            .ok_or(invalid("observed_at"))?,
    };
    Ok(ExchangeRate {
        id: ExchangeRateId::generate(),
        from,
        to,
        rate: message.rate.parse().map_err(|_| invalid("rate"))?,
        spread_basis_points: message.spread_basis_points,
        source: message.source,
        observed_at,
    })
}

/// What the database keeps of a time.
fn to_microseconds(at: OffsetDateTime) -> OffsetDateTime {
    at - Duration::nanoseconds(i64::from(at.nanosecond() % 1_000))
}

fn optional(code: &str, field: &'static str) -> Result<Option<Currency>, Error> {
    if code.is_empty() {
        return Ok(None);
    }
    currency(code, field).map(Some)
}

fn currency(code: &str, field: &'static str) -> Result<Currency, Error> {
    Currency::parse(code).map_err(|_| Error::CurrencyUnknown { field })
}
