//! `CreateBonusGrant`: bonus money of a campaign for a user's wallet.
//!
//! Of the wallet only the owner is looked up, who must be somebody else than the operator.
//! What the campaign and the wallet allow, wallet decides in the one posting that is the
//! grant.

use bursar_aip::id::WalletId;
use bursar_contracts::transaction::v1::{CreateBonusGrantRequest, CreateBonusGrantResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::back_office::Office;
use super::creation::{Creation, Intent};
use super::{amount, wallet_id};
use crate::advance::Engine;
use crate::domain::Movement;
use crate::error::Error;

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateBonusGrantRequest>,
) -> Result<Response<CreateBonusGrantResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let creation = Creation::new(engine, &context, &message)?;
    let office = Office::of(&context)?;
    let wallet = wallet_id(&message.wallet_id, "wallet_id")?;
    let intent = intent(message, wallet)?;
    let ledger = engine.ledger.clone();
    detached(creation.run_found(async move {
        office.owner(&ledger, wallet).await?;
        Ok(intent)
    }))
    .await
}

fn intent(message: CreateBonusGrantRequest, to: WalletId) -> Result<Intent, Error> {
    let field = "campaign_id";
    let campaign = message.campaign_id.parse();
    Ok(Intent {
        movement: Movement::BonusGrant {
            campaign: campaign.map_err(|_| Error::FieldInvalid { field })?,
            to,
        },
        amount: amount(message.amount.as_ref())?,
        description: message.description,
        quote: None,
    })
}
