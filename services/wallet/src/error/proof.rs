//! What can go wrong about the ledger's proof.

use std::time::Duration;

use bursar_contracts::wallet::v1::ErrorReason;
use bursar_status::{Reason, StatusBuilder};
use tonic::{Code, Status};

/// Why a call about the proof failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such posting, or the caller may not see all its wallets.
    #[error("no such posting")]
    PostingNotFound,
    /// No checkpoint vouches for the posting yet.
    #[error("no checkpoint vouches for the posting yet")]
    NotSignedYet {
        /// When to ask again.
        retry_after: Duration,
    },
    /// There is no such checkpoint.
    #[error("no such checkpoint")]
    CheckpointNotFound,
    /// There is no such block.
    #[error("no such block")]
    BlockNotFound,
    /// The blocks have more postings than one export may have.
    #[error("the blocks have {postings} postings, and an export has at most {limit}")]
    ExportTooLong {
        /// How many there are.
        postings: u64,
        /// How many there may be.
        limit: u64,
    },
}

impl From<ProofError> for Status {
    fn from(error: ProofError) -> Self {
        let message = error.to_string();
        match error {
            ProofError::PostingNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::PostingNotFound, message).into()
            }
            ProofError::NotSignedYet { retry_after } => {
                unmet(ErrorReason::PostingNotSignedYet, message, "posting")
                    .retry_after(retry_after)
                    .into()
            }
            ProofError::CheckpointNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::CheckpointNotFound, message).into()
            }
            ProofError::BlockNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::BlockNotFound, message).into()
            }
            ProofError::ExportTooLong { postings, limit } => {
                unmet(ErrorReason::ExportTooLong, message, "export")
                    .metadata("postings", postings.to_string())
                    .metadata("limit", limit.to_string())
                    .into()
            }
        }
    }
}

/// A state that does not allow what was asked for.
fn unmet(reason: ErrorReason, message: String, subject: &str) -> StatusBuilder {
    StatusBuilder::new(Code::FailedPrecondition, reason, message.clone()).precondition(
        reason.name(),
        subject,
        message,
    )
}
