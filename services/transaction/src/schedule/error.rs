//! What can go wrong with a schedule, and what the caller is told.

use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

use super::control::ControlError;
use crate::error::Error as TransferError;

/// Why a call, or a turn of the job, does not do what it was to do.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The transfer is none that can be made.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A field is not what the contract says.
    #[error("{field} is missing or malformed")]
    FieldInvalid {
        /// The field's path.
        field: &'static str,
    },
    /// No time zone of that name is known.
    #[error("no time zone of that name is known")]
    ZoneUnknown,
    /// The start is in the past.
    #[error("the schedule would start in the past")]
    StartPassed,
    /// No run is due between start and end.
    #[error("no run is due between the start and the end")]
    WithoutRuns,
    /// The user has as many schedules as may be.
    #[error("as many schedules are active or paused as may be")]
    Exceeded,
    /// No such schedule, or not the caller's.
    #[error("no such schedule")]
    NotFound,
    /// It is in no state for that.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Another instance has taken the schedule over.
    #[error("the schedule is being worked on")]
    Superseded,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Transfer(error) => error.into(),
            Error::FieldInvalid { field } => at(CommonReason::InvalidField, field, message),
            Error::ZoneUnknown => at(
                ErrorReason::TimeZoneUnknown,
                "recurrence.time_zone",
                message,
            ),
            Error::StartPassed => at(ErrorReason::ScheduleStartPassed, "start_at", message),
            Error::WithoutRuns => at(ErrorReason::ScheduleWithoutRuns, "end_at", message),
            Error::Exceeded => StatusBuilder::new(
                Code::ResourceExhausted,
                ErrorReason::SchedulesExceeded,
                message,
            )
            .into(),
            Error::NotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::ScheduleNotFound, message).into()
            }
            Error::Control(error) => refused(error, message),
            Error::Superseded => {
                StatusBuilder::new(Code::Aborted, ErrorReason::ScheduleChanged, message).into()
            }
            Error::Database(error) => database::status(&error),
        }
    }
}

fn refused(error: ControlError, message: String) -> Status {
    match error {
        ControlError::Over => {
            let reason = ErrorReason::ScheduleOver;
            StatusBuilder::new(Code::FailedPrecondition, reason, &*message)
                .precondition(bursar_status::Reason::name(reason), "schedule_id", message)
                .into()
        }
        ControlError::NotPermitted => StatusBuilder::new(
            Code::PermissionDenied,
            ErrorReason::ScheduleResumeNotPermitted,
            message,
        )
        .into(),
        ControlError::Changed { version } => {
            StatusBuilder::new(Code::Aborted, ErrorReason::ScheduleChanged, message)
                .metadata("version", version.to_string())
                .into()
        }
    }
}

/// A field at fault.
fn at(reason: impl bursar_status::Reason, field: &'static str, message: String) -> Status {
    StatusBuilder::new(Code::InvalidArgument, reason, format!("{field}: {message}"))
        .field(field, message)
        .into()
}
