//! The service of holds.

use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::hold_service_server::HoldService;
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use super::{capture_hold, get_hold, list_holds, place_hold, void_hold};
use crate::jobs::queue::Ledger;

/// Holds on users' wallets.
pub(crate) struct Holds {
    /// The database.
    pub(crate) pool: PgPool,
    /// The way into the ledger.
    pub(crate) ledger: Ledger,
}

#[tonic::async_trait]
impl HoldService for Holds {
    async fn place_hold(
        &self,
        request: Request<proto::PlaceHoldRequest>,
    ) -> Result<Response<proto::PlaceHoldResponse>, Status> {
        place_hold::handle(self, request).await
    }

    async fn get_hold(
        &self,
        request: Request<proto::GetHoldRequest>,
    ) -> Result<Response<proto::GetHoldResponse>, Status> {
        get_hold::handle(self, request).await
    }

    async fn list_holds(
        &self,
        request: Request<proto::ListHoldsRequest>,
    ) -> Result<Response<proto::ListHoldsResponse>, Status> {
        list_holds::handle(self, request).await
    }

    async fn capture_hold(
        &self,
        request: Request<proto::CaptureHoldRequest>,
    ) -> Result<Response<proto::CaptureHoldResponse>, Status> {
        capture_hold::handle(self, request).await
    }

    async fn void_hold(
        &self,
        request: Request<proto::VoidHoldRequest>,
    ) -> Result<Response<proto::VoidHoldResponse>, Status> {
        void_hold::handle(self, request).await
    }
}
