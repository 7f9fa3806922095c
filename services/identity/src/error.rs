//! The errors of identity, and the one place where they become answers.

use std::time::Duration;

use bursar_aip::page::PageTokenInvalid;
use bursar_contracts::identity::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

use crate::domain::password::PasswordError;
use crate::domain::refresh::RefreshError;
use crate::domain::service_account::ServiceAccountError;
use crate::domain::session::SessionError;
use crate::domain::user::UserError;
use crate::hasher::HasherError;
use crate::token::TokenError;

/// How long a caller should wait whose password could not be looked at.
const OVERLOAD_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why an RPC does not do what it was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// About a user.
    #[error(transparent)]
    User(#[from] UserError),
    /// About a password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// About a session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// About a refresh token.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// About a service account.
    #[error(transparent)]
    ServiceAccount(#[from] ServiceAccountError),
    /// About a page token.
    #[error(transparent)]
    PageToken(#[from] PageTokenInvalid),
    /// A password could be neither hashed nor checked.
    #[error(transparent)]
    Hasher(#[from] HasherError),
    /// No access token could be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A row that was written by this service cannot be read back.
    #[error("stored {what} cannot be read")]
    Stored {
        /// What.
        what: &'static str,
    },
    /// The database refused or did not answer.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The answer is settled: an earlier one that is repeated, or a layer's.
    #[error("{0}")]
    Answered(Box<Status>),
}

impl Error {
    /// True for an answer that the same request gets again under its
    /// idempotency key: the state of things refused it. Faults of ours, and
    /// requests that never came to be looked at, are not frozen.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::User(_)
            | Self::Password(_)
            | Self::Session(_)
            | Self::Refresh(_)
            | Self::ServiceAccount(_) => true,
            Self::PageToken(_)
            | Self::Hasher(_)
            | Self::Token(_)
            | Self::Stored { .. }
            | Self::Database(_)
            | Self::Answered(_) => false,
        }
    }

    /// True when the transaction as a whole may be tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Database(error) if database::is_retryable(error))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Answered(Box::new(status))
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::User(error) => user(error),
            Error::Password(error) => password(error),
            Error::Session(error) => session(error),
            Error::Refresh(error) => refresh(error),
            Error::ServiceAccount(error) => service_account(error),
            Error::PageToken(error) => error.into(),
            Error::Hasher(HasherError::Overloaded) => StatusBuilder::new(
                Code::ResourceExhausted,
                CommonReason::Overloaded,
                "too many passwords wait to be checked",
            )
            .retry_after(OVERLOAD_RETRY_AFTER)
            .into(),
            Error::Hasher(
                error @ (HasherError::Argon2(_) | HasherError::Malformed | HasherError::Thread(_)),
            ) => bursar_status::internal(CommonReason::Internal, &error),
            Error::Token(error) => bursar_status::internal(CommonReason::Internal, &error),
            Error::Stored { .. } => bursar_status::internal(CommonReason::Internal, &error),
            Error::Database(error) => database::status(&error),
            Error::Answered(status) => *status,
        }
    }
}

fn user(error: UserError) -> Status {
    match error {
        UserError::EmailInvalid => invalid("email", error),
        UserError::DisplayNameInvalid => invalid("display_name", error),
        UserError::EmailTaken => StatusBuilder::new(
            Code::AlreadyExists,
            ErrorReason::EmailTaken,
            error.to_string(),
        )
        .field("email", error.to_string())
        .into(),
        UserError::NotFound => {
            StatusBuilder::new(Code::NotFound, ErrorReason::UserNotFound, error.to_string()).into()
        }
    }
}

fn password(error: PasswordError) -> Status {
    match error {
        PasswordError::Length | PasswordError::IsEmail | PasswordError::Blank => {
            invalid("password", error)
        }
        PasswordError::Wrong => unauthenticated(ErrorReason::CredentialsInvalid, error),
    }
}

fn session(error: SessionError) -> Status {
    match error {
        SessionError::Revoked => unauthenticated(ErrorReason::SessionRevoked, error),
        SessionError::NotFound => StatusBuilder::new(
            Code::NotFound,
            ErrorReason::SessionNotFound,
            error.to_string(),
        )
        .into(),
    }
}

fn refresh(error: RefreshError) -> Status {
    match error {
        RefreshError::Invalid => unauthenticated(ErrorReason::RefreshTokenInvalid, error),
        RefreshError::Reused => unauthenticated(ErrorReason::RefreshTokenReused, error),
    }
}

fn service_account(error: ServiceAccountError) -> Status {
    match error {
        ServiceAccountError::CredentialsInvalid => {
            unauthenticated(ErrorReason::ClientCredentialsInvalid, error)
        }
        ServiceAccountError::ClientIdInvalid => invalid("client_id", error),
    }
}

fn unauthenticated(reason: ErrorReason, error: impl std::error::Error) -> Status {
    StatusBuilder::new(Code::Unauthenticated, reason, error.to_string()).into()
}

fn invalid(field: &str, error: impl std::error::Error) -> Status {
    StatusBuilder::new(
        Code::InvalidArgument,
        CommonReason::InvalidField,
        format!("{field}: {error}"),
    )
    .field(field, error.to_string())
    .into()
}

#[cfg(test)]
mod tests {
    use bursar_status::StatusExt;

    use super::*;

    /// A full queue is told from a fault of ours, and says when to try again.
    #[test]
    fn overload_is_no_internal_error() {
        let status = Status::from(Error::from(HasherError::Overloaded));
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(
            details.error_info().map(|info| info.reason.as_str()),
            Some("OVERLOADED")
        );
        let retry = details.retry_info().and_then(|info| info.retry_delay);
        assert_eq!(retry, Some(OVERLOAD_RETRY_AFTER));
    }

    /// What went wrong inside stays inside, and is not frozen for replays.
    #[test]
    fn faults_tell_nothing() {
        for error in [
            Error::from(HasherError::Malformed),
            Error::Stored { what: "tenant" },
            Error::from(sqlx::Error::RowNotFound),
        ] {
            assert!(!error.is_definite());
            let text = error.to_string();
            let status = Status::from(error);
            assert_eq!(status.code(), Code::Internal);
            assert!(!status.message().contains(&text), "{status:?}");
        }
    }
}
