//! The service of reconciliation, and the plain HTTP route for large files.

mod assembly;
mod breaks;
mod contract;
mod error;
mod files;
mod import;
mod report;
mod settings;
mod upload;

use bursar_contracts::transaction::v1 as proto;
use bursar_contracts::transaction::v1::reconciliation_service_server::ReconciliationService;
use sqlx::PgPool;
use tonic::{Request, Response, Status, Streaming};

use crate::domain::ProviderName;
use crate::jobs::reconciliation::intake::Intake;
use crate::provider::Providers;
use error::ReconciliationError;

pub(crate) use assembly::{Reconciling, lists};

/// The service's handlers.
#[derive(Clone)]
pub(crate) struct Reconciliation {
    intake: Intake,
    providers: Providers,
}

impl Reconciliation {
    pub(crate) fn new(intake: Intake, providers: Providers) -> Self {
        Self { intake, providers }
    }

    fn pool(&self) -> &PgPool {
        self.intake.pool()
    }

    /// The provider of that name, which must be configured.
    fn provider(&self, text: &str) -> Result<ProviderName, ReconciliationError> {
        let name = text
            .parse()
            .map_err(|_| ReconciliationError::FieldInvalid { field: "provider" })?;
        match self.providers.get(&name) {
            Some(_) => Ok(name),
            None => Err(ReconciliationError::ProviderUnknown),
        }
    }
}

#[tonic::async_trait]
impl ReconciliationService for Reconciliation {
    async fn import_settlement_file(
        &self,
        request: Request<Streaming<proto::ImportSettlementFileRequest>>,
    ) -> Result<Response<proto::ImportSettlementFileResponse>, Status> {
        import::handle(self, request).await
    }

    async fn get_settlement_file(
        &self,
        request: Request<proto::GetSettlementFileRequest>,
    ) -> Result<Response<proto::GetSettlementFileResponse>, Status> {
        files::get(self, request).await
    }

    async fn list_settlement_files(
        &self,
        request: Request<proto::ListSettlementFilesRequest>,
    ) -> Result<Response<proto::ListSettlementFilesResponse>, Status> {
        files::list(self, request).await
    }

    async fn get_reconciliation_report(
        &self,
        request: Request<proto::GetReconciliationReportRequest>,
    ) -> Result<Response<proto::GetReconciliationReportResponse>, Status> {
        report::handle(self, request).await
    }

    async fn list_breaks(
        &self,
        request: Request<proto::ListBreaksRequest>,
    ) -> Result<Response<proto::ListBreaksResponse>, Status> {
        breaks::list(self, request).await
    }

    async fn resolve_break(
        &self,
        request: Request<proto::ResolveBreakRequest>,
    ) -> Result<Response<proto::ResolveBreakResponse>, Status> {
        breaks::resolve(self, request).await
    }

    async fn get_reconciliation_settings(
        &self,
        request: Request<proto::GetReconciliationSettingsRequest>,
    ) -> Result<Response<proto::GetReconciliationSettingsResponse>, Status> {
        settings::get(self, request).await
    }

    async fn set_reconciliation_settings(
        &self,
        request: Request<proto::SetReconciliationSettingsRequest>,
    ) -> Result<Response<proto::SetReconciliationSettingsResponse>, Status> {
        settings::set(self, request).await
    }
}
