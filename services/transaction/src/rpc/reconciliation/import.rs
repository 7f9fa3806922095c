//! ImportSettlementFile.

use bursar_aip::id::{SettlementFileId, TenantId};
use bursar_auth::Caller;
use bursar_contracts::transaction::v1::{
    ImportSettlementFileRequest, ImportSettlementFileResponse,
};
use bursar_server::Context;
use tonic::{Request, Response, Status, Streaming};

use super::error::ReconciliationError;
use super::{Reconciliation, contract};
use crate::jobs::reconciliation::intake::{Imported, Reading};
use crate::store::reconciliation::Source;
use crate::store::reconciliation::files::NewFile;

/// What a file is called, before it is checked.
pub(super) struct Named<'a> {
    pub(super) provider: &'a str,
    pub(super) settlement_date: &'a str,
    pub(super) file_name: &'a str,
}

/// Who brings a file.
pub(super) struct Importer {
    tenant: TenantId,
    actor: String,
}

impl Importer {
    pub(super) fn of(caller: &Caller) -> Self {
        Self {
            tenant: caller.tenant.clone(),
            actor: caller.actor(),
        }
    }
}

pub(super) async fn handle(
    service: &Reconciliation,
    request: Request<Streaming<ImportSettlementFileRequest>>,
) -> Result<Response<ImportSettlementFileResponse>, Status> {
    let context = Context::of(&request)?;
    let mut parts = request.into_inner();
    let first = parts
        .message()
        .await?
        .ok_or(ReconciliationError::FieldInvalid { field: "provider" })?;
    let named = Named {
        provider: &first.provider,
        settlement_date: &first.settlement_date,
        file_name: &first.file_name,
    };
    let reading = begin(service, Importer::of(&context.caller), &named)?;
    let mut part = Some(first);
    while let Some(message) = part {
        let bytes = message.content.map(|content| content.data);
        if !reading.push(&bytes.unwrap_or_default()).await {
            break;
        }
        // What breaks off here drops the reading, which is then given up.
        part = parts.message().await?;
    }
    let imported = reading.finish().await.map_err(ReconciliationError::from)?;
    Ok(Response::new(answer(&imported)))
}

/// Begins to read a file that was named well.
pub(super) fn begin(
    service: &Reconciliation,
    importer: Importer,
    named: &Named<'_>,
) -> Result<Reading, ReconciliationError> {
    let file = NewFile {
        id: SettlementFileId::generate(),
        tenant: importer.tenant,
        provider: service.provider(named.provider)?,
        source: Source::File,
        name: named.file_name.to_owned(),
        settlement_date: contract::parse_date(named.settlement_date)?,
        imported_by: importer.actor,
    };
    Ok(service.intake.begin(file)?)
}

/// The answer to an import.
pub(super) fn answer(imported: &Imported) -> ImportSettlementFileResponse {
    ImportSettlementFileResponse {
        file: Some(contract::file(&imported.file)),
        already_imported: imported.was_there,
    }
}
