//! The RPCs, one file each.

mod create_deposit;
mod create_transfer;
mod create_withdrawal;
mod creation;
mod get_transaction;
mod list_transactions;

use bursar_aip::id::WalletId;
use bursar_contracts::transaction::v1::transaction_service_server::TransactionService;
use bursar_contracts::transaction::v1::{
    CreateDepositRequest, CreateDepositResponse, CreateTransferRequest, CreateTransferResponse,
    CreateWithdrawalRequest, CreateWithdrawalResponse, GetTransactionRequest,
    GetTransactionResponse, ListTransactionsRequest, ListTransactionsResponse,
};
use bursar_contracts::r#type::v1::Money as MoneyMessage;
use bursar_money::{Currency, PositiveMoney};
use tonic::{Request, Response, Status};

use crate::advance::Engine;
use crate::domain::ProviderName;
use crate::error::Error;

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

/// The provider of a request, which must be configured.
fn provider(engine: &Engine, text: &str) -> Result<ProviderName, Error> {
    let name = text
        .parse()
        .map_err(|_| Error::FieldInvalid { field: "provider" })?;
    match engine.providers.get(&name) {
        Some(_) => Ok(name),
        None => Err(Error::ProviderUnknown),
    }
}
