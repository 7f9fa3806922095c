//! `CreateRefund`: gives back a transfer or a deposit, in whole or in part.
//!
//! What is left of the original is decided where the intent is recorded, under a
//! lock of its row; a refusal is recorded for the key in the same place.

use bursar_auth::Reach;
use bursar_contracts::transaction::v1::{CreateRefundRequest, CreateRefundResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::amount;
use super::creation::Creation;
use super::refund::RefundWish;
use crate::advance::Engine;
use crate::domain::Asker;
use crate::error::Error;

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateRefundRequest>,
) -> Result<Response<CreateRefundResponse>, Status> {
    let context = Context::of(&request)?;
    let asker = match context.reach()? {
        Reach::Own(user) => Asker::User(user),
        Reach::Any => Asker::Operator,
    };
    let message = request.into_inner();
    let creation = Creation::new(engine, &context, &message)?;
    let wish = wish(asker, message)?;
    detached(creation.run_refund(wish)).await
}

fn wish(asker: Asker, message: CreateRefundRequest) -> Result<RefundWish, Error> {
    let field = "transaction_id";
    let original = message.transaction_id.parse();
    let asked = message.amount.as_ref();
    Ok(RefundWish {
        original: original.map_err(|_| Error::FieldInvalid { field })?,
        amount: asked.map(|asked| amount(Some(asked))).transpose()?,
        asker,
        description: message.description,
    })
}
