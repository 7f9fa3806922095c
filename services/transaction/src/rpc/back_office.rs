//! What operators move in customers' wallets, a file an RPC.

use bursar_contracts::transaction::v1::back_office_service_server::BackOfficeService;
use bursar_contracts::transaction::v1::{
    CreateAdjustmentRequest, CreateAdjustmentResponse, CreateBonusGrantRequest,
    CreateBonusGrantResponse,
};
use tonic::{Request, Response, Status};

use super::{create_adjustment, create_bonus_grant};
use crate::advance::Engine;

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
