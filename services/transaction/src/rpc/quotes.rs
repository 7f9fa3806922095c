//! The service for quotes.

use std::time::Instant;

use bursar_aip::id::{QuoteId, TenantId, UserId, WalletId};
use bursar_auth::Reach;
use bursar_contracts::transaction::v1::quote_service_server::QuoteService;
use bursar_contracts::transaction::v1::{
    CreateQuoteRequest, CreateQuoteResponse, GetQuoteRequest, GetQuoteResponse,
};
use bursar_money::{Currency, PositiveMoney};
use bursar_server::{Context, detached, now};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::once::{Begun, Once};
use super::wallet_look::{look, shortly_before};
use super::{amount, wallet_id};
use crate::config::QuoteSettings;
use crate::contract;
use crate::domain::{
    Conversion, MovementKind, Price, Quote, QuoteError, Refusal, RefusalReason, Side,
};
use crate::error::Error;
use crate::ledger::{Ledger, WalletSummary};
use crate::pricing::{self, PricingError, Wanted};
use crate::store::quotes::{self, StoredQuote};
use crate::store::rates;

/// The service's handlers.
pub(crate) struct Quotes {
    pool: PgPool,
    ledger: Ledger,
    settings: QuoteSettings,
}

impl Quotes {
    pub(crate) fn new(pool: PgPool, ledger: Ledger, settings: QuoteSettings) -> Self {
        Self {
            pool,
            ledger,
            settings,
        }
    }
}

#[tonic::async_trait]
impl QuoteService for Quotes {
    async fn create_quote(
        &self,
        request: Request<CreateQuoteRequest>,
    ) -> Result<Response<CreateQuoteResponse>, Status> {
        let context = Context::of(&request)?;
        let message = request.into_inner();
        let once = Once::of(&context, &message);
        let wish = Wish::of(&context, &message)?;
        let call = Call {
            pool: self.pool.clone(),
            ledger: self.ledger.clone(),
            settings: self.settings,
            deadline: context.deadline,
        };
        detached(call.create(once, wish)).await
    }

    async fn get_quote(
        &self,
        request: Request<GetQuoteRequest>,
    ) -> Result<Response<GetQuoteResponse>, Status> {
        let context = Context::of(&request)?;
        let reach = context.reach()?;
        let field = "quote_id";
        let id = request.get_ref().quote_id.parse();
        let id: QuoteId = id.map_err(|_| Error::FieldInvalid { field })?;
        let mut conn = self.pool.acquire().await.map_err(Error::from)?;
        let found = quotes::find(&mut conn, id).await.map_err(Error::from)?;
        let is_seen = |stored: &StoredQuote| {
            stored.tenant == context.caller.tenant
                && match reach {
                    Reach::Own(user) => stored.quote.user == user,
                    Reach::Any => true,
                }
        };
        let found = found
            .filter(is_seen)
            .ok_or(PricingError::Quote(QuoteError::NotFound))?;
        Ok(Response::new(GetQuoteResponse {
            quote: Some(contract::quote(&found.quote)),
        }))
    }
}

/// What is to be quoted.
struct Wish {
    tenant: TenantId,
    user: UserId,
    kind: MovementKind,
    amount: PositiveMoney,
    from: Option<WalletId>,
    to: Option<WalletId>,
    /// The currency in which the money is to arrive, where the request says it.
    to_currency: Option<Currency>,
}

impl Wish {
    /// Reads a request: only a transfer leaves one wallet for another and may change
    /// its currency.
    fn of(context: &Context, message: &CreateQuoteRequest) -> Result<Self, Status> {
        let invalid = |field| Error::FieldInvalid { field };
        let wallet = |text: &str, field| match text {
            "" => Ok(None),
            text => wallet_id(text, field).map(Some),
        };
        let kind = contract::movement_kind(message.r#type()).ok_or(invalid("type"))?;
        let from = wallet(&message.from_wallet_id, "from_wallet_id")?;
        let to = wallet(&message.to_wallet_id, "to_wallet_id")?;
        let to_currency = match message.to_currency_code.as_str() {
            "" => None,
            code => Some(Currency::parse(code).map_err(|_| Error::CurrencyUnknown {
                field: "to_currency_code",
            })?),
        };
        let amount = amount(message.amount.as_ref())?;
        match kind {
            MovementKind::Transfer if from.is_some() && from == to => {
                return Err(Error::SameWallet.into());
            }
            MovementKind::Refund | MovementKind::Adjustment | MovementKind::BonusGrant => {
                return Err(invalid("type").into());
            }
            MovementKind::Deposit if from.is_some() => return Err(invalid("from_wallet_id").into()),
            MovementKind::Withdrawal if to.is_some() => return Err(invalid("to_wallet_id").into()),
            MovementKind::Deposit | MovementKind::Withdrawal
                if to_currency.is_some_and(|currency| currency != amount.currency()) =>
            {
                return Err(invalid("to_currency_code").into());
            }
            MovementKind::Transfer | MovementKind::Deposit | MovementKind::Withdrawal => {}
        }
        Ok(Self {
            tenant: context.caller.tenant.clone(),
            user: context.user_id()?,
            kind,
            amount,
            from,
            to,
            to_currency,
        })
    }
}

/// A `CreateQuote` under way.
struct Call {
    pool: PgPool,
    ledger: Ledger,
    settings: QuoteSettings,
    deadline: Instant,
}

impl Call {
    /// The wallets are looked at before the key is claimed: the ledger is not waited
    /// for with a database transaction open. A duplicate gets the first quote, whatever
    /// became of the wallets.
    async fn create(self, once: Once, wish: Wish) -> Result<Response<CreateQuoteResponse>, Status> {
        if let Some(answer) = once.answered(&self.pool).await? {
            return answer.into_result();
        }
        let to_currency = self.to_currency(&wish).await?;
        let mut open = match once.begin(&self.pool).await? {
            Begun::First(open) => open,
            Begun::Before(answer) => return answer.into_result(),
        };
        let at = now();
        let price = self
            .price(&mut open.database, &wish, to_currency, at)
            .await?;
        let stored = StoredQuote {
            quote: Quote {
                id: QuoteId::generate(),
                user: wish.user,
                kind: wish.kind,
                amount: wish.amount,
                from: wish.from,
                to: wish.to,
                price,
                created_at: at,
                expires_at: at + self.settings.ttl,
                used_by: None,
            },
            tenant: wish.tenant,
        };
        quotes::insert(&mut open.database, &stored)
            .await
            .map_err(Error::from)?;
        let quote = Some(contract::quote(&stored.quote));
        open.finish(CreateQuoteResponse { quote }).await
    }

    /// The fee is of the amount and in its currency; of what a recipient bears, less
    /// is left to be converted.
    async fn price(
        &self,
        conn: &mut PgConnection,
        wish: &Wish,
        to_currency: Currency,
        at: OffsetDateTime,
    ) -> Result<Price, Error> {
        let wanted = Wanted {
            tenant: &wish.tenant,
            kind: wish.kind,
            amount: wish.amount,
        };
        let found = pricing::fees_of(conn, &[wanted]).await?.pop();
        let price = Price {
            fee: found.transpose()?.flatten(),
            conversion: None,
        };
        if to_currency == wish.amount.currency() {
            return Ok(price);
        }
        let left_minor = wish.amount.minor() - price.taken_minor();
        let conversion = self
            .convert(conn, wish, to_currency, left_minor, at)
            .await?;
        Ok(Price {
            conversion: Some(conversion),
            ..price
        })
    }

    async fn convert(
        &self,
        conn: &mut PgConnection,
        wish: &Wish,
        to_currency: Currency,
        minor: i64,
        at: OffsetDateTime,
    ) -> Result<Conversion, Error> {
        let from_currency = wish.amount.currency();
        let found = rates::latest(conn, &wish.tenant, from_currency, to_currency).await?;
        let rate = found.ok_or(PricingError::RateNotFound)?.rate;
        if rate.is_stale(self.settings.max_rate_age, at) {
            return Err(PricingError::RateStale {
                observed_at: rate.observed_at,
            }
            .into());
        }
        Ok(rate.convert(minor).map_err(PricingError::from)?)
    }

    /// The currency in which the money would arrive, once the wallets that are named
    /// were found to fit.
    async fn to_currency(&self, wish: &Wish) -> Result<Currency, Error> {
        let own = wish.amount.currency();
        if let Some(from) = wish.from {
            let wallet = self.wallet(from, Side::Payer, Some(wish.user)).await?;
            if wallet.currency_code != own.code() {
                return Err(refused(RefusalReason::CurrencyMismatch, Side::Payer));
            }
        }
        let Some(to) = wish.to else {
            return Ok(wish.to_currency.unwrap_or(own));
        };
        let is_deposit = wish.kind == MovementKind::Deposit;
        let owner = is_deposit.then_some(wish.user);
        let wallet = self.wallet(to, Side::Payee, owner).await?;
        let expected = match (is_deposit, wish.to_currency) {
            (true, _) => Some(own),
            (false, named) => named,
        };
        let currency =
            Currency::parse(&wallet.currency_code).map_err(|_| Error::CurrencyUnsupported)?;
        match expected {
            Some(expected) if expected != currency => {
                Err(refused(RefusalReason::CurrencyMismatch, Side::Payee))
            }
            Some(_) | None => Ok(currency),
        }
    }

    /// A wallet that takes part, which must be this user's.
    async fn wallet(
        &self,
        id: WalletId,
        side: Side,
        owner: Option<UserId>,
    ) -> Result<WalletSummary, Error> {
        match look(&self.ledger, id, shortly_before(self.deadline)).await? {
            // The platform's own wallets are nobody's to name.
            Some(wallet) if wallet.owner.is_none() => {
                Err(refused(RefusalReason::WalletNotFound, side))
            }
            Some(wallet) if owner.is_some() && wallet.owner != owner => {
                Err(refused(RefusalReason::WalletNotFound, side))
            }
            Some(wallet) if wallet.is_closed => Err(refused(RefusalReason::WalletClosed, side)),
            Some(wallet) => Ok(wallet),
            None => Err(refused(RefusalReason::WalletNotFound, side)),
        }
    }
}

fn refused(reason: RefusalReason, side: Side) -> Error {
    Error::Refused(Refusal { reason, side })
}
