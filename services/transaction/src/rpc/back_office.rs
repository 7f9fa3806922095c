//! What operators move in customers' wallets, a file an RPC.

use std::time::Instant;

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::transaction::v1::back_office_service_server::BackOfficeService;
use bursar_contracts::transaction::v1::{
    CreateAdjustmentRequest, CreateAdjustmentResponse, CreateBonusGrantRequest,
    CreateBonusGrantResponse,
};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::wallet_look::{half_way_to, look};
use super::{create_adjustment, create_bonus_grant};
use crate::advance::Engine;
use crate::error::Error;
use crate::ledger::Ledger;

/// An operator's call about a wallet.
pub(super) struct Office {
    /// Who calls.
    operator: UserId,
    /// The permission that allows it, for others' wallets.
    permission: &'static str,
    /// Until when the look at the wallet may take.
    until: Instant,
}

impl Office {
    /// The call of this context.
    pub(super) fn of(context: &Context) -> Result<Self, Status> {
        Ok(Self {
            operator: context.user_id()?,
            permission: context.permission()?,
            until: half_way_to(context.deadline),
        })
    }

    /// Whose wallet it is; `None` for one that is nobody's or not there. Nobody moves
    /// money by hand for oneself.
    pub(super) async fn owner(
        &self,
        ledger: &Ledger,
        wallet: WalletId,
    ) -> Result<Option<UserId>, Error> {
        let found = look(ledger, wallet, self.until).await?;
        let owner = found.and_then(|wallet| wallet.owner);
        if owner == Some(self.operator) {
            let permission = self.permission;
            return Err(Error::WalletOwn { permission });
        }
        Ok(owner)
    }
}

/// The service's handlers.
pub(crate) struct BackOffice {
    engine: Engine,
}

impl BackOffice {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl BackOfficeService for BackOffice {
    async fn create_adjustment(
        &self,
        request: Request<CreateAdjustmentRequest>,
    ) -> Result<Response<CreateAdjustmentResponse>, Status> {
        create_adjustment::handle(&self.engine, request).await
    }

    async fn create_bonus_grant(
        &self,
        request: Request<CreateBonusGrantRequest>,
    ) -> Result<Response<CreateBonusGrantResponse>, Status> {
        create_bonus_grant::handle(&self.engine, request).await
    }
}
