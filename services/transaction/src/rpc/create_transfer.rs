//! `CreateTransfer`: from a wallet of the caller's to any wallet.
//!
//! There is no look at the wallets first: the ledger decides everything about
//! them in the one posting, so nothing can change in between. Between wallets of two
//! currencies it goes at the rate of a quote, and without one the ledger refuses it.

use bursar_contracts::transaction::v1::{CreateTransferRequest, CreateTransferResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::creation::{Creation, Intent};
use super::{amount, quote_id, wallet_id};
use crate::advance::Engine;
use crate::domain::Movement;
use crate::error::Error;

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateTransferRequest>,
) -> Result<Response<CreateTransferResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let creation = Creation::new(engine, &context, &message)?;
    let intent = intent(message)?;
    detached(creation.run(intent)).await
}

/// What a request wants moved.
pub(super) fn intent(message: CreateTransferRequest) -> Result<Intent, Error> {
    let from = wallet_id(&message.from_wallet_id, "from_wallet_id")?;
    let to = wallet_id(&message.to_wallet_id, "to_wallet_id")?;
    if from == to {
        return Err(Error::SameWallet);
    }
    Ok(Intent {
        movement: Movement::Transfer { from, to },
        amount: amount(message.amount.as_ref())?,
        description: message.description,
        quote: quote_id(&message.quote_id)?,
    })
}
