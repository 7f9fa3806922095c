//! `CreateWithdrawal`: from a wallet of the caller's to a payment provider.
//!
//! The money is set aside before the provider is asked. The wallet is looked at
//! first all the same: a call that can go nowhere records nothing. A caller who
//! names no provider gets the best one, which is chosen only for a call that is
//! not a repetition.

use bursar_contracts::transaction::v1::{CreateWithdrawalRequest, CreateWithdrawalResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::creation::{Creation, Intent};
use super::{amount, provider, quote_id, wallet_id};
use crate::advance::Engine;
use crate::domain::{Movement, Side};
use crate::error::Error;
use crate::provider::{Direction, Wanted};

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateWithdrawalRequest>,
) -> Result<Response<CreateWithdrawalResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let creation = Creation::new(engine, &context, &message)?;
    let engine = engine.clone();
    let intent = move || intent(&engine, message);
    detached(creation.run_after_check(intent, Side::Payer)).await
}

fn intent(engine: &Engine, message: CreateWithdrawalRequest) -> Result<Intent, Error> {
    let from = wallet_id(&message.wallet_id, "wallet_id")?;
    let amount = amount(message.amount.as_ref())?;
    let wanted = Wanted {
        direction: Direction::Payout,
        amount,
    };
    let provider = provider(engine, &message.provider, &wanted)?;
    Ok(Intent {
        movement: Movement::Withdrawal { from, provider },
        amount,
        description: message.description,
        quote: quote_id(&message.quote_id)?,
    })
}
