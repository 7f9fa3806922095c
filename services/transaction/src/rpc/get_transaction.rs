//! `GetTransaction`.

use bursar_aip::id::TransactionId;
use bursar_auth::Reach;
use bursar_contracts::transaction::v1::{GetTransactionRequest, GetTransactionResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use crate::advance::Engine;
use crate::contract;
use crate::domain::Transaction;
use crate::error::Error;
use crate::store::transactions;

pub(super) async fn handle(
    engine: &Engine,
    request: Request<GetTransactionRequest>,
) -> Result<Response<GetTransactionResponse>, Status> {
    let context = Context::of(&request)?;
    let reach = context.reach()?;
    let id: TransactionId =
        request
            .into_inner()
            .transaction_id
            .parse()
            .map_err(|_| Error::FieldInvalid {
                field: "transaction_id",
            })?;
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let found = transactions::find(&mut conn, id)
        .await
        .map_err(Error::from)?;
    let stored = found
        .filter(|stored| stored.tenant == context.caller.tenant)
        .filter(|stored| is_visible(&stored.transaction, reach))
        .ok_or(Error::TransactionNotFound)?;
    Ok(Response::new(GetTransactionResponse {
        transaction: Some(contract::transaction(&stored)),
    }))
}

/// A transaction is seen by who started it, by whose wallet a refund or an adjustment
/// takes from and, once it is done, by whom the money reached; the beneficiary is known only
/// then.
pub(super) fn is_visible(transaction: &Transaction, reach: Reach) -> bool {
    match reach {
        Reach::Any => true,
        Reach::Own(user) => {
            transaction.initiator == user
                || transaction.beneficiary == Some(user)
                || transaction.movement.payer() == Some(user)
        }
    }
}
