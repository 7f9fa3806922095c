//! Many postings in one call of the ledger.
//!
//! What holds for one posting holds for each of these: repeating is safe, and no
//! answer is no refusal. The ledger answers a call as a whole or not at all.

use std::time::{Duration, Instant};

use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::{BatchMode, PostBatchRequest, PostingResult, RejectionReason};

use super::{Ledger, Reply, message, read, until_answered};
use crate::domain::{LedgerFault, Posting};

/// How long one attempt may take: a batch of a thousand takes its time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the postings of a call stand or fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Together {
    /// All are applied, or none is.
    Yes,
    /// Each is applied or refused on its own.
    No,
}

/// The ledger's definite answer to one posting of a call.
#[derive(Clone, Debug)]
pub(crate) enum BatchReply {
    /// About the posting itself.
    Own(Reply),
    /// It is not in the ledger, because another posting of the call was refused.
    Companion,
}

/// What came of posting many.
#[derive(Clone, Debug)]
pub(crate) struct BatchAttempted {
    /// One answer a posting, in their order; `None` when none came in time.
    pub(crate) replies: Option<Vec<BatchReply>>,
    /// Whether an attempt was, or may have been, sent and not answered.
    pub(crate) loose_end: bool,
}

impl Ledger {
    /// Posts many until there is a definite answer or the deadline passes.
    #[tracing::instrument(name = "ledger.post_all", skip_all, fields(postings = postings.len()))]
    pub(crate) async fn post_all(
        &self,
        postings: &[Posting],
        together: Together,
        deadline: Instant,
    ) -> BatchAttempted {
        let mode = match together {
            Together::Yes => BatchMode::Atomic,
            Together::No => BatchMode::Independent,
        };
        let request = PostBatchRequest {
            postings: postings.iter().map(message).collect(),
            mode: mode.into(),
            origins: Vec::new(),
        };
        let attempt = || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { Ok(client.post_batch(request).await?.into_inner().results) }
        };
        let posted = until_answered(deadline, ATTEMPT_TIMEOUT, attempt).await;
        BatchAttempted {
            replies: posted.answer.map(|results| replies(postings, results)),
            loose_end: posted.loose_end,
        }
    }
}

/// The results as the domain takes them, each with its posting. An answer that
/// lacks one, which the ledger never gives, is nothing to act on.
fn replies(postings: &[Posting], results: Vec<PostingResult>) -> Vec<BatchReply> {
    let mut results = results.into_iter();
    postings
        .iter()
        .map(|posting| {
            let result = results.next();
            match &result {
                Some(result) if result.posting_id != posting.id.to_string() => {
                    BatchReply::Own(Reply::Faulted(LedgerFault::Unexplained))
                }
                Some(PostingResult {
                    outcome: Some(Outcome::Rejected(rejected)),
                    ..
                }) if rejected.reason() == RejectionReason::BatchRejected => BatchReply::Companion,
                Some(_) | None => BatchReply::Own(read(posting, result)),
            }
        })
        .collect()
}
