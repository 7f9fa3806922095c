//! The books as operators see them.

use bursar_aip::id::{TenantId, WalletId};
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::projection_service_server::ProjectionService;
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use super::{detect_drift, get_rebuild, get_trial_balance, list_rebuilds, rebuild_projections};
use crate::error::Error;
use crate::store::wallets;

/// Trial balances, and the projections of all wallets.
pub(crate) struct Projections {
    /// The database.
    pub(crate) pool: PgPool,
}

/// The wallet of a request that names one, which must be the tenant's.
pub(super) async fn require_wallet(
    pool: &PgPool,
    tenant: &TenantId,
    id: WalletId,
) -> Result<(), Error> {
    let mut connection = pool.acquire().await?;
    let found = wallets::find(&mut connection, tenant, id, None).await?;
    found.map(drop).ok_or(Error::WalletNotFound)
}

#[tonic::async_trait]
impl ProjectionService for Projections {
    async fn get_trial_balance(
        &self,
        request: Request<proto::GetTrialBalanceRequest>,
    ) -> Result<Response<proto::GetTrialBalanceResponse>, Status> {
        get_trial_balance::handle(self, request).await
    }

    async fn detect_drift(
        &self,
        request: Request<proto::DetectDriftRequest>,
    ) -> Result<Response<proto::DetectDriftResponse>, Status> {
        detect_drift::handle(self, request).await
    }

    async fn rebuild_projections(
        &self,
        request: Request<proto::RebuildProjectionsRequest>,
    ) -> Result<Response<proto::RebuildProjectionsResponse>, Status> {
        rebuild_projections::handle(self, request).await
    }

    async fn get_rebuild(
        &self,
        request: Request<proto::GetRebuildRequest>,
    ) -> Result<Response<proto::GetRebuildResponse>, Status> {
        get_rebuild::handle(self, request).await
    }

    async fn list_rebuilds(
        &self,
        request: Request<proto::ListRebuildsRequest>,
    ) -> Result<Response<proto::ListRebuildsResponse>, Status> {
        list_rebuilds::handle(self, request).await
    }
}
