//! What the gRPC loads have in common: connections, requests and what an answer
//! has to be.

use anyhow::{Context as _, ensure};
use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::transaction::v1::{
    CreateTransferRequest, CreateTransferResponse, TransactionState,
};
use bursar_contracts::r#type::v1::Money;
use bursar_testkit::with_token;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response};
use uuid::Uuid;

use crate::dice::Dice;
use crate::payers::Payers;

/// More connections than services have among themselves: callers of a gateway
/// are many programs, and the gateway's threads share connections, not calls.
const CHANNELS: usize = 32;
/// What each transfer moves; no wallet runs dry of it.
const AMOUNT_MINOR: i64 = 1;

/// Connections to the gateway, for so many callers.
pub(crate) async fn open(address: &str, callers: usize) -> anyhow::Result<Vec<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    let mut channels = Vec::new();
    for _ in 0..callers.min(CHANNELS) {
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

/// A transfer as it may be asked for, once or again.
pub(crate) struct Call {
    message: CreateTransferRequest,
    token: String,
    key: String,
}

impl Call {
    /// A transfer of any payer's to any wallet, under a new key.
    pub(crate) fn choose(payers: &Payers, dice: &mut Dice) -> Self {
        let mut choice = payers.choose(dice, 1);
        Self {
            message: CreateTransferRequest {
                from_wallet_id: choice.from,
                to_wallet_id: choice.to.pop().unwrap_or_default(),
                amount: Some(amount()),
                ..CreateTransferRequest::default()
            },
            token: choice.token.to_owned(),
            key: new_key(),
        }
    }

    /// Asks for it, and insists that it completed.
    pub(crate) async fn make(
        &self,
        client: &mut TransactionServiceClient<Channel>,
    ) -> anyhow::Result<Response<CreateTransferResponse>> {
        let request = with_key(with_token(self.message.clone(), &self.token), &self.key)?;
        let response = client.create_transfer(request).await?;
        let transaction = response.get_ref().transaction.as_ref();
        let state = transaction.context("an answer has a transaction")?.state();
        ensure!(
            state == TransactionState::Completed,
            "a transfer ended as {state:?}"
        );
        Ok(response)
    }
}

/// What a transfer moves.
pub(crate) fn amount() -> Money {
    Money {
        currency_code: "EUR".to_owned(),
        minor_units: AMOUNT_MINOR,
    }
}

/// A key that nobody used.
pub(crate) fn new_key() -> String {
    Uuid::now_v7().to_string()
}

/// Puts an idempotency key into a request.
pub(crate) fn with_key<T>(mut request: Request<T>, key: &str) -> anyhow::Result<Request<T>> {
    let key = key.parse().context("a key is visible ASCII")?;
    request.metadata_mut().insert("idempotency-key", key);
    Ok(request)
}
