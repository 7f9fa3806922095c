//! What can go wrong with reconciliation, and what the caller is told.

use std::time::Duration;

use bursar_aip::id::{BreakId, SettlementFileId};
use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

use crate::jobs::reconciliation::intake::Refused;
use crate::reconciliation::{FormatInvalid, Problem, RulesInvalid};

/// When to try again while as many files are read as can be.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// Why a call is not answered with what it asked for.
#[derive(Debug, Error)]
pub(super) enum ReconciliationError {
    /// The file is broken, and nothing of it counts.
    #[error("{problem}")]
    FileInvalid {
        file: SettlementFileId,
        problem: Problem,
    },
    /// No such file.
    #[error("no such settlement file")]
    FileNotFound,
    /// No such break.
    #[error("no such break")]
    BreakNotFound,
    /// The break was resolved in another way.
    #[error("the break was resolved in another way")]
    BreakAlreadyResolved { id: BreakId },
    /// No provider of that name is configured.
    #[error("no such payment provider")]
    ProviderUnknown,
    /// The settings have another version by now.
    #[error("the settings were changed meanwhile")]
    SettingsChanged { version: i64 },
    /// The rules contradict each other.
    #[error(transparent)]
    Rules(#[from] RulesInvalid),
    /// The form contradicts itself.
    #[error(transparent)]
    Format(#[from] FormatInvalid),
    /// A field is not what the contract says.
    #[error("{field} is missing or malformed")]
    FieldInvalid { field: &'static str },
    /// As many files are being read as can be.
    #[error("as many settlement files are being read as can be")]
    Busy,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<Refused> for ReconciliationError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Broken { file, problem } => Self::FileInvalid { file, problem },
            Refused::Busy => Self::Busy,
            Refused::Database(error) => Self::Database(error),
        }
    }
}

impl From<ReconciliationError> for Status {
    fn from(error: ReconciliationError) -> Self {
        let message = error.to_string();
        let invalid = |field: &str, message: String| {
            StatusBuilder::new(Code::InvalidArgument, CommonReason::InvalidField, &*message)
                .field(field, message)
                .into()
        };
        match error {
            ReconciliationError::FileInvalid { file, problem } => {
                let reason = ErrorReason::SettlementFileInvalid;
                StatusBuilder::new(Code::InvalidArgument, reason, message)
                    .metadata("settlement_file_id", file.to_string())
                    .metadata("line", problem.line.to_string())
                    .metadata("column", problem.column)
                    .metadata("problem", problem.code.name())
                    .into()
            }
            ReconciliationError::FileNotFound => {
                let reason = ErrorReason::SettlementFileNotFound;
                StatusBuilder::new(Code::NotFound, reason, message).into()
            }
            ReconciliationError::BreakNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::BreakNotFound, message).into()
            }
            ReconciliationError::BreakAlreadyResolved { id } => {
                let reason = ErrorReason::BreakAlreadyResolved;
                StatusBuilder::new(Code::FailedPrecondition, reason, &*message)
                    .precondition(bursar_status::Reason::name(reason), id.to_string(), message)
                    .into()
            }
            ReconciliationError::ProviderUnknown => StatusBuilder::new(
                Code::InvalidArgument,
                ErrorReason::ProviderUnknown,
                &*message,
            )
            .field("provider", message)
            .into(),
            ReconciliationError::SettingsChanged { version } => {
                let reason = ErrorReason::ReconciliationSettingsChanged;
                StatusBuilder::new(Code::Aborted, reason, message)
                    .metadata("version", version.to_string())
                    .into()
            }
            ReconciliationError::Rules(_) => invalid("rules", message),
            ReconciliationError::Format(_) => invalid("format", message),
            ReconciliationError::FieldInvalid { field } => invalid(field, message),
            ReconciliationError::Busy => {
                StatusBuilder::new(Code::ResourceExhausted, CommonReason::Overloaded, message)
                    .retry_after(BUSY_RETRY)
                    .into()
            }
            ReconciliationError::Database(error) => database::status(&error),
        }
    }
}
