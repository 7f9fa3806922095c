//! `CreateAdjustment`: an operator gives a wallet money or takes some from it.
//!
//! Of the wallet only the owner is looked up, who never changes: somebody else than the
//! operator, who has to be told of what is taken from him. What the wallet can give or
//! take, the ledger decides.

use bursar_aip::id::{TenantId, TransactionId, WalletId};
use bursar_contracts::transaction::v1::{
    AdjustmentDirection as Direction, CreateAdjustmentRequest, CreateAdjustmentResponse,
};
use bursar_money::PositiveMoney;
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::back_office::Office;
use super::creation::{Creation, Intent};
use super::{amount, wallet_id};
use crate::advance::Engine;
use crate::contract;
use crate::domain::{
    Adjustment, AdjustmentDirection, AdjustmentReason, Movement, Refusal, RefusalReason, Side,
};
use crate::error::Error;
use crate::store::transactions;

/// What is asked for.
struct Asked {
    wallet: WalletId,
    amount: PositiveMoney,
    direction: Direction,
    reason: AdjustmentReason,
    description: String,
    corrects: Option<TransactionId>,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateAdjustmentRequest>,
) -> Result<Response<CreateAdjustmentResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let creation = Creation::new(engine, &context, &message)?;
    let asked = Asked::of(message)?;
    let engine = engine.clone();
    let tenant = context.caller.tenant.clone();
    let office = Office::of(&context)?;
    detached(creation.run_found(async move { asked.intent(&engine, &tenant, &office).await })).await
}

impl Asked {
    fn of(message: CreateAdjustmentRequest) -> Result<Self, Error> {
        let invalid = |field| Error::FieldInvalid { field };
        let corrects = match message.corrected_transaction_id.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| invalid("corrected_transaction_id"))?,
            ),
        };
        Ok(Self {
            wallet: wallet_id(&message.wallet_id, "wallet_id")?,
            amount: amount(message.amount.as_ref())?,
            direction: message.direction(),
            reason: contract::adjustment_reason(message.reason()).ok_or(invalid("reason"))?,
            corrects,
            description: message.description,
        })
    }

    async fn intent(
        self,
        engine: &Engine,
        tenant: &TenantId,
        office: &Office,
    ) -> Result<Intent, Error> {
        let owner = office.owner(&engine.ledger, self.wallet).await?;
        if let Some(corrected) = self.corrects {
            self.check_corrected(engine, tenant, corrected).await?;
        }
        let direction = match self.direction {
            Direction::Credit => AdjustmentDirection::Credit,
            Direction::Debit => AdjustmentDirection::Debit {
                // The platform's own wallets are nobody's.
                owner: owner.ok_or(Error::Refused(Refusal {
                    reason: RefusalReason::WalletNotFound,
                    side: Side::Payer,
                }))?,
            },
            Direction::Unspecified => return Err(Error::FieldInvalid { field: "direction" }),
        };
        Ok(Intent {
            movement: Movement::Adjustment(Adjustment {
                wallet: self.wallet,
                direction,
                reason: self.reason,
                corrects: self.corrects,
            }),
            amount: self.amount,
            description: self.description,
            quote: None,
        })
    }

    /// What is corrected must be there, and the wallet must have a part in it. Neither
    /// ever changes.
    async fn check_corrected(
        &self,
        engine: &Engine,
        tenant: &TenantId,
        corrected: TransactionId,
    ) -> Result<(), Error> {
        let mut conn = engine.pool.acquire().await?;
        let found = transactions::find(&mut conn, corrected)
            .await?
            .filter(|stored| stored.tenant == *tenant)
            .ok_or(Error::TransactionNotFound)?;
        if found.transaction.involves(self.wallet) {
            Ok(())
        } else {
            Err(Error::CorrectionUnrelated)
        }
    }
}
