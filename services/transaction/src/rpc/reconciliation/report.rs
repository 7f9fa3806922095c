//! GetReconciliationReport.

use bursar_aip::id::{SettlementFileId, parse_field};
use bursar_contracts::transaction::v1::{
    GetReconciliationReportRequest, GetReconciliationReportResponse,
};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::error::ReconciliationError;
use super::{Reconciliation, contract};
use crate::store::reconciliation::{FileState, files, report};

pub(super) async fn handle(
    service: &Reconciliation,
    request: Request<GetReconciliationReportRequest>,
) -> Result<Response<GetReconciliationReportResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let tenant = &context.caller.tenant;
    let mut conn = service
        .pool()
        .acquire()
        .await
        .map_err(ReconciliationError::from)?;
    let counted = if message.settlement_file_id.is_empty() {
        let provider = service.provider(&message.provider)?;
        let day = contract::parse_date(&message.settlement_date)?;
        let source = contract::source(message.source());
        report::files_of_day(&mut conn, tenant, provider.as_str(), day, source)
            .await
            .map_err(ReconciliationError::from)?
    } else {
        let id: SettlementFileId = parse_field("settlement_file_id", &message.settlement_file_id)?;
        let file = files::find(&mut conn, id)
            .await
            .map_err(ReconciliationError::from)?
            .filter(|file| &file.tenant == tenant)
            .ok_or(ReconciliationError::FileNotFound)?;
        let counts = matches!(file.state, FileState::Reconciling | FileState::Reconciled);
        counts.then_some(id).into_iter().collect()
    };
    let read = report::read(&mut conn, &counted)
        .await
        .map_err(ReconciliationError::from)?;
    Ok(Response::new(GetReconciliationReportResponse {
        report: Some(contract::report(&read)),
    }))
}
