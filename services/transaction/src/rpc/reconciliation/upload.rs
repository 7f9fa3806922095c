//! `POST /api/v1/transactions/settlement-files`: a settlement file as a plain
//! body, for files that take longer than a call may.
//!
//! The query names the file: `provider`, `settlement_date` and, if wanted,
//! `file_name`; the body is the file, streamed. Permission, checks and answers
//! are those of `ImportSettlementFile`; errors have the form of the whole API,
//! google.rpc.Status in JSON.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bursar_auth::{Authorizer, Verifier};
use bursar_contracts::policy;
use bursar_contracts::transaction::v1::{ImportSettlementFileResponse, SettlementFileState};
use bursar_server::now;
use bursar_status::StatusExt;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::Reconciliation;
use super::error::ReconciliationError;
use super::import::{self, Importer, Named};

/// The RPC whose policy counts here too.
const METHOD: &str = "/bursar.transaction.v1.ReconciliationService/ImportSettlementFile";
/// How long the next bytes may take.
const IDLE: Duration = Duration::from_secs(60);
/// How long a file may take.
const TOTAL: Duration = Duration::from_secs(3600);
/// The longest name of a file, in characters, as the contract has it.
const MAX_NAME: usize = 200;

#[derive(Clone)]
struct Door {
    service: Reconciliation,
    authorizer: Authorizer,
}

/// How the query names a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameForm {
    provider: String,
    settlement_date: String,
    #[serde(default)]
    file_name: String,
}

/// The route of large files.
pub(super) fn router(service: Reconciliation, verifier: Verifier) -> Router {
    let authorizer = Authorizer::new(verifier);
    Router::new()
        .route("/api/v1/transactions/settlement-files", post(upload))
        // The body is streamed, and bounded where it is read.
        .layer(DefaultBodyLimit::disable())
        .with_state(Door {
            service,
            authorizer,
        })
}

async fn upload(
    State(door): State<Door>,
    headers: HeaderMap,
    name: Result<Query<NameForm>, QueryRejection>,
    body: Body,
) -> Response {
    match import(&door, &headers, name, body).await {
        Ok(imported) => Json(told(&imported)).into_response(),
        Err(status) => refusal(&status),
    }
}

async fn import(
    door: &Door,
    headers: &HeaderMap,
    name: Result<Query<NameForm>, QueryRejection>,
    body: Body,
) -> Result<ImportSettlementFileResponse, Status> {
    let invalid = |field| Status::from(ReconciliationError::FieldInvalid { field });
    let (method, rules) =
        policy::lookup(METHOD).ok_or_else(|| Status::unimplemented("no such method"))?;
    let authorized = door
        .authorizer
        .authorize(method, rules, headers, now().unix_timestamp())
        .await?;
    let Query(name) = name.map_err(|_| invalid("provider"))?;
    if name.file_name.chars().count() > MAX_NAME || name.file_name.contains('\0') {
        return Err(invalid("file_name"));
    }
    let named = Named {
        provider: &name.provider,
        settlement_date: &name.settlement_date,
        file_name: &name.file_name,
    };
    let reading = import::begin(&door.service, Importer::of(&authorized.caller), &named)?;
    let deadline = tokio::time::Instant::now() + TOTAL;
    let mut parts = body.into_data_stream();
    loop {
        let idle = deadline.min(tokio::time::Instant::now() + IDLE);
        // Leaving from here drops the reading, which is then given up.
        let part = tokio::time::timeout_at(idle, parts.next())
            .await
            .map_err(|_| Status::deadline_exceeded("the file took too long"))?;
        let Some(part) = part else { break };
        let part = part.map_err(|_| Status::cancelled("the file broke off"))?;
        if !reading.push(&part).await {
            break;
        }
    }
    let imported = reading.finish().await.map_err(ReconciliationError::from)?;
    Ok(import::answer(&imported))
}

/// The answer as the JSON mapping of proto3 writes it.
fn told(imported: &ImportSettlementFileResponse) -> Value {
    let file = imported.file.as_ref().map(|file| {
        let state = SettlementFileState::try_from(file.state).unwrap_or_default();
        json!({
            "settlement_file_id": file.settlement_file_id,
            "provider": file.provider,
            "file_name": file.file_name,
            "settlement_date": file.settlement_date,
            "state": state.as_str_name(),
            "sha256": file.sha256,
            "bytes": file.bytes.to_string(),
            "lines": file.lines.to_string(),
            "imported_by": file.imported_by,
        })
    });
    json!({ "file": file, "already_imported": imported.already_imported })
}

fn refusal(status: &Status) -> Response {
    let http = match status.code() {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled | Code::DeadlineExceeded => StatusCode::REQUEST_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    };
    tracing::warn!(code = ?status.code(), reason = status.message(), "a settlement file is refused");
    let details = status.get_error_details();
    let info = details.error_info().map(|info| {
        json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": info.reason,
            "domain": info.domain,
            "metadata": info.metadata,
        })
    });
    let body = json!({
        "code": status.code() as i32,
        "message": status.message(),
        "details": info.into_iter().collect::<Vec<_>>(),
    });
    (http, Json(body)).into_response()
}
