//! Why a watch is refused, or ends.

use std::time::Duration;

use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

/// When to watch again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a watch is refused, or ends.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The cursor is malformed, or another user's.
    #[error("the cursor is malformed, or another user's")]
    CursorInvalid,
    /// What follows the cursor is no longer kept.
    #[error("what follows the cursor is no longer kept; watch without a cursor")]
    CursorExpired,
    /// As many watches are open as may be.
    #[error("as many watches are open as may be; try again later")]
    WatchersExceeded,
    /// The watcher does not keep up.
    #[error("changes come faster than they are taken; watch again from the cursor")]
    TooSlow {
        /// From where to watch again.
        cursor: String,
    },
    /// The caller's token has ended.
    #[error("the access token has ended; watch again with another one")]
    TokenEnded,
    /// The service is stopping.
    #[error("the service is stopping; watch again from the last cursor")]
    Stopping,
    /// The streams of events, or wallet, do not answer.
    #[error("the changes cannot be had now")]
    Unavailable,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// A stream that cannot be read is logged where it happens.
impl From<redis::RedisError> for Error {
    fn from(error: redis::RedisError) -> Self {
        tracing::warn!(%error, "a stream of events cannot be read");
        Self::Unavailable
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::CursorInvalid => {
                StatusBuilder::new(Code::InvalidArgument, ErrorReason::CursorInvalid, &*message)
                    .field("cursor", message)
                    .into()
            }
            Error::CursorExpired => {
                StatusBuilder::new(Code::OutOfRange, ErrorReason::CursorExpired, &*message)
                    .field("cursor", message)
                    .into()
            }
            Error::WatchersExceeded => StatusBuilder::new(
                Code::ResourceExhausted,
                ErrorReason::WatchersExceeded,
                message,
            )
            .retry_after(RETRY_AFTER)
            .into(),
            Error::TooSlow { cursor } => StatusBuilder::new(
                Code::ResourceExhausted,
                ErrorReason::WatcherTooSlow,
                message,
            )
            .metadata("cursor", cursor)
            .retry_after(RETRY_AFTER)
            .into(),
            Error::TokenEnded => StatusBuilder::new(
                Code::Unauthenticated,
                CommonReason::Unauthenticated,
                message,
            )
            .into(),
            Error::Stopping | Error::Unavailable => {
                StatusBuilder::new(Code::Unavailable, CommonReason::Unavailable, message)
                    .retry_after(RETRY_AFTER)
                    .into()
            }
            Error::Database(error) => database::status(&error),
        }
    }
}
