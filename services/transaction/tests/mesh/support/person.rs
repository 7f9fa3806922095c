//! A user of a test's mesh.

use std::time::{Duration, Instant};

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::{
    CreateDepositRequest, CreateDepositResponse, CreateTransferRequest, CreateTransferResponse,
    CreateWithdrawalRequest, CreateWithdrawalResponse, GetTransactionRequest,
    ListTransactionsRequest, ListTransactionsResponse, Transaction, TransactionState,
};
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{CreateWalletRequest, GetWalletRequest};
use bursar_testkit::with_token;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::calls::{deposit, keyed, told};
use super::{LOOK_AGAIN, Mesh, PATIENCE};

/// A user with a token.
#[derive(Clone)]
pub(crate) struct Person<'a> {
    pub(crate) id: UserId,
    pub(crate) token: String,
    pub(super) mesh: &'a Mesh,
}

impl<'a> Person<'a> {
    pub(crate) fn new(mesh: &'a Mesh) -> Self {
        let id = UserId::generate();
        Self {
            id,
            token: mesh.tokens.user(id),
            mesh,
        }
    }

    /// A request with the user's token and a key of its own.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        self.request_with(message, &Uuid::now_v7().to_string())
    }

    /// A request with the user's token and a key.
    pub(crate) fn request_with<T>(&self, message: T, key: &str) -> Request<T> {
        keyed(with_token(message, &self.token), key)
    }

    /// Opens a wallet.
    pub(crate) async fn wallet_in(&self, currency_code: &str) -> String {
        let request = CreateWalletRequest {
            currency_code: currency_code.to_owned(),
        };
        let response = WalletServiceClient::new(self.mesh.wallet.channel())
            .create_wallet(self.request(request))
            .await
            .expect("a user may open a wallet");
        let wallet = response.into_inner().wallet;
        wallet.expect("a response has its wallet").wallet_id
    }

    /// Opens a wallet in euros.
    pub(crate) async fn wallet(&self) -> String {
        self.wallet_in("EUR").await
    }

    /// Opens a wallet in euros with money in it.
    pub(crate) async fn funded(&self, minor_units: i64) -> String {
        let wallet = self.wallet().await;
        let deposited = self
            .deposit(deposit(&wallet, minor_units))
            .await
            .expect("the provider takes the money");
        assert_eq!(deposited.state(), TransactionState::Completed);
        wallet
    }

    /// The wallet's available and held money.
    pub(crate) async fn balance(&self, wallet: &str) -> (i64, i64) {
        let request = GetWalletRequest {
            wallet_id: wallet.to_owned(),
            ..GetWalletRequest::default()
        };
        let response = WalletServiceClient::new(self.mesh.wallet.channel())
            .get_wallet(with_token(request, &self.token))
            .await
            .expect("a user sees a wallet of their own");
        let wallet = response
            .into_inner()
            .wallet
            .expect("a response has its wallet");
        let balance = wallet.balance.expect("a wallet has its balance");
        (balance.available_minor, balance.held_minor)
    }

    pub(crate) async fn deposit(
        &self,
        message: CreateDepositRequest,
    ) -> Result<Transaction, Status> {
        let response = self
            .deposit_with(message, &Uuid::now_v7().to_string())
            .await?;
        Ok(response
            .into_inner()
            .transaction
            .expect("a response has its transaction"))
    }

    pub(crate) async fn deposit_with(
        &self,
        message: CreateDepositRequest,
        key: &str,
    ) -> Result<Response<CreateDepositResponse>, Status> {
        let request = self.request_with(message, key);
        self.mesh.client().create_deposit(request).await
    }

    pub(crate) async fn transfer(
        &self,
        message: CreateTransferRequest,
    ) -> Result<Transaction, Status> {
        let response = self
            .transfer_with(message, &Uuid::now_v7().to_string())
            .await?;
        Ok(response
            .into_inner()
            .transaction
            .expect("a response has its transaction"))
    }

    pub(crate) async fn transfer_with(
        &self,
        message: CreateTransferRequest,
        key: &str,
    ) -> Result<Response<CreateTransferResponse>, Status> {
        let request = self.request_with(message, key);
        self.mesh.client().create_transfer(request).await
    }

    /// The same with a deadline of the caller's.
    pub(crate) async fn transfer_within(
        &self,
        message: CreateTransferRequest,
        key: &str,
        deadline: Duration,
    ) -> Result<Response<CreateTransferResponse>, Status> {
        let mut request = self.request_with(message, key);
        request.set_timeout(deadline);
        self.mesh.client().create_transfer(request).await
    }

    /// Tries a key again for as long as it is told to, within the test's patience.
    pub(crate) async fn until_answered(
        &self,
        message: CreateTransferRequest,
        key: &str,
    ) -> Result<Transaction, Status> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.transfer_with(message.clone(), key).await {
                Ok(response) => {
                    let transaction = response.into_inner().transaction;
                    return Ok(transaction.expect("a response has its transaction"));
                }
                Err(status) if told(&status).retries => {
                    assert!(Instant::now() < give_up, "still no answer: {status:?}");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(status) => return Err(status),
            }
        }
    }

    pub(crate) async fn withdraw(
        &self,
        message: CreateWithdrawalRequest,
    ) -> Result<Transaction, Status> {
        let response = self
            .withdraw_with(message, &Uuid::now_v7().to_string())
            .await?;
        Ok(response
            .into_inner()
            .transaction
            .expect("a response has its transaction"))
    }

    pub(crate) async fn withdraw_with(
        &self,
        message: CreateWithdrawalRequest,
        key: &str,
    ) -> Result<Response<CreateWithdrawalResponse>, Status> {
        let request = self.request_with(message, key);
        self.mesh.client().create_withdrawal(request).await
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Transaction, Status> {
        let request = GetTransactionRequest {
            transaction_id: id.to_owned(),
        };
        let request = with_token(request, &self.token);
        let response = self.mesh.client().get_transaction(request).await?;
        Ok(response
            .into_inner()
            .transaction
            .expect("a response has its transaction"))
    }

    pub(crate) async fn list(
        &self,
        message: ListTransactionsRequest,
    ) -> Result<ListTransactionsResponse, Status> {
        let request = with_token(message, &self.token);
        let response = self.mesh.client().list_transactions(request).await?;
        Ok(response.into_inner())
    }
}
