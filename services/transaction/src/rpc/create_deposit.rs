//! `CreateDeposit`: from a payment provider into a wallet of the caller's.
//!
//! The wallet is looked at before anything else: a provider must not be asked
//! to take money for a wallet that cannot have it.

use bursar_contracts::transaction::v1::{CreateDepositRequest, CreateDepositResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::creation::{Creation, Intent};
use super::{amount, provider, wallet_id};
use crate::advance::Engine;
use crate::domain::{Movement, Side};
use crate::error::Error;

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateDepositRequest>,
) -> Result<Response<CreateDepositResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let creation = Creation::new(engine, &context, &message)?;
    let intent = intent(engine, message)?;
    detached(creation.run_after_check(intent, Side::Payee)).await
}

fn intent(engine: &Engine, message: CreateDepositRequest) -> Result<Intent, Error> {
    let to = wallet_id(&message.wallet_id, "wallet_id")?;
    let provider = provider(engine, &message.provider)?;
    Ok(Intent {
        movement: Movement::Deposit { to, provider },
        amount: amount(message.amount.as_ref())?,
        description: message.description,
    })
}
