//! `CreateDeposit`: from a payment provider into a wallet of the caller's.
//!
//! The wallet is looked at before anything else: a provider must not be asked
//! to take money for a wallet that cannot have it. A caller who names no provider
//! gets the best one, which is chosen only for a call that is not a repetition.

use std::time::Instant;

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::{CreateDepositRequest, CreateDepositResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::creation::{Creation, Intent};
use super::wallet_look::{Part, half_way_to};
use super::{amount, provider, quote_id, wallet_id};
use crate::advance::Engine;
use crate::domain::{Movement, Side};
use crate::error::Error;
use crate::provider::{Direction, PaymentMethod, Wanted};

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateDepositRequest>,
) -> Result<Response<CreateDepositResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let method = payment_method(&message.payment_method)?;
    let creation = Creation::new(engine, &context, &message)?.charging(method);
    let engine = engine.clone();
    let (user, until) = (context.user_id()?, half_way_to(context.deadline));
    detached(creation.run_found(async move { intent(&engine, user, until, message).await })).await
}

async fn intent(
    engine: &Engine,
    user: UserId,
    until: Instant,
    message: CreateDepositRequest,
) -> Result<Intent, Error> {
    let to = wallet_id(&message.wallet_id, "wallet_id")?;
    let amount = amount(message.amount.as_ref())?;
    let wanted = Wanted {
        direction: Direction::Charge,
        amount,
        has_payment_method: !message.payment_method.is_empty(),
        has_payout_account: false,
    };
    let provider = provider(engine, &message.provider, &wanted)?;
    let quote = quote_id(&message.quote_id)?;
    let part = Part {
        wallet: to,
        side: Side::Payee,
        owner: Some(user),
        currency: amount.currency(),
    };
    part.check(&engine.ledger, until).await?;
    Ok(Intent {
        movement: Movement::Deposit { to, provider },
        amount,
        description: message.description,
        quote,
    })
}

/// What the provider is to charge, if the caller says so.
fn payment_method(text: &str) -> Result<Option<PaymentMethod>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let method = PaymentMethod::parse(text).ok_or(Error::FieldInvalid {
        field: "payment_method",
    })?;
    Ok(Some(method))
}
