//! The RPCs, one file each.

mod back_office;
mod bulk;
mod bulk_create;
mod bulk_reads;
mod bulk_watch;
mod create_adjustment;
mod create_bonus_grant;
mod create_deposit;
mod create_refund;
mod create_transfer;
mod create_withdrawal;
mod creation;
mod explain;
mod fee_rules;
mod fraud;
mod fx;
mod get_transaction;
mod limits;
mod list_transactions;
mod once;
mod payout_accounts;
mod quotes;
pub(crate) mod reconciliation;
mod refund;
mod review_list;
mod review_resolution;
mod review_service;
pub(crate) mod schedule;
mod wallet_look;
mod watch_account;

use bursar_aip::id::{QuoteId, WalletId};
use bursar_contracts::transaction::v1::transaction_service_server::TransactionService;
use bursar_contracts::transaction::v1::{
    CreateDepositRequest, CreateDepositResponse, CreateRefundRequest, CreateRefundResponse,
    CreateTransferRequest, CreateTransferResponse, CreateWithdrawalRequest,
    CreateWithdrawalResponse, GetTransactionRequest, GetTransactionResponse,
    ListTransactionsRequest, ListTransactionsResponse,
};
use bursar_contracts::r#type::v1::Money as MoneyMessage;
use bursar_money::{Currency, PositiveMoney};
use tonic::{Request, Response, Status};

use crate::advance::Engine;
use crate::contract;
use crate::domain::ProviderName;
use crate::error::Error;
use crate::provider::Wanted;
use crate::watch;

pub(crate) use back_office::BackOffice;
pub(crate) use bulk::BulkRpc;
pub(crate) use explain::ExplainRpc;
pub(crate) use fee_rules::FeeRules;
pub(crate) use fraud::FraudRpc;
pub(crate) use fx::ExchangeRates;
pub(crate) use limits::LimitRpc;
pub(crate) use payout_accounts::PayoutAccountRpc;
pub(crate) use quotes::Quotes;
pub(crate) use review_service::Reviews;
pub(crate) use watch_account::WatchRpc;

/// The service's handlers.
pub(crate) struct Rpc {
    engine: Engine,
}

impl Rpc {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl TransactionService for Rpc {
    async fn create_deposit(
        &self,
        request: Request<CreateDepositRequest>,
    ) -> Result<Response<CreateDepositResponse>, Status> {
        create_deposit::handle(&self.engine, request).await
    }

    async fn create_refund(
        &self,
        request: Request<CreateRefundRequest>,
    ) -> Result<Response<CreateRefundResponse>, Status> {
        create_refund::handle(&self.engine, request).await
    }

    async fn create_transfer(
        &self,
        request: Request<CreateTransferRequest>,
    ) -> Result<Response<CreateTransferResponse>, Status> {
        create_transfer::handle(&self.engine, request).await
    }

    async fn create_withdrawal(
        &self,
        request: Request<CreateWithdrawalRequest>,
    ) -> Result<Response<CreateWithdrawalResponse>, Status> {
        create_withdrawal::handle(&self.engine, request).await
    }

    async fn get_transaction(
        &self,
        request: Request<GetTransactionRequest>,
    ) -> Result<Response<GetTransactionResponse>, Status> {
        get_transaction::handle(&self.engine, request).await
    }

    async fn list_transactions(
        &self,
        request: Request<ListTransactionsRequest>,
    ) -> Result<Response<ListTransactionsResponse>, Status> {
        list_transactions::handle(&self.engine, request).await
    }
}

/// The amount of a request. The contract's bounds were checked before; the
/// currency was not.
fn amount(message: Option<&MoneyMessage>) -> Result<PositiveMoney, Error> {
    let message = message.ok_or(Error::FieldInvalid { field: "amount" })?;
    let currency =
        Currency::parse(&message.currency_code).map_err(|_| Error::CurrencyUnsupported)?;
    PositiveMoney::new(currency, message.minor_units).map_err(|_| Error::FieldInvalid {
        field: "amount.minor_units",
    })
}

fn wallet_id(text: &str, field: &'static str) -> Result<WalletId, Error> {
    text.parse().map_err(|_| Error::FieldInvalid { field })
}

/// The quote that a request names, if it names one.
fn quote_id(text: &str) -> Result<Option<QuoteId>, Error> {
    let field = "quote_id";
    contract::quote_id(text).ok_or(Error::FieldInvalid { field })
}

/// The provider of a request: the one that it names, which must be configured
/// and take part in such a movement, or the best one when it names none.
fn provider(engine: &Engine, text: &str, wanted: &Wanted) -> Result<ProviderName, Error> {
    if text.is_empty() {
        let chosen = engine.providers.choose(wanted);
        watch::routed(wanted.direction, chosen);
        return Ok(chosen?.clone());
    }
    let name = text
        .parse()
        .map_err(|_| Error::FieldInvalid { field: "provider" })?;
    let provider = engine.providers.get(&name).ok_or(Error::ProviderUnknown)?;
    provider.offer().cost(wanted)?;
    Ok(name)
}
