//! Calls of the ledger that carry the postings of many callers.
//!
//! A posting is one piece of work; what gathers while a call is under way goes with
//! the next one. Each posting names who is behind it and the request it belongs to,
//! because the call itself is nobody's in particular. A posting that the ledger could
//! not decide about comes back without an outcome, which is no answer, and leaves the
//! others theirs. A posting whose form the ledger does not take fails the call before
//! any of it is queued; such a call is cut up. No other is: what was sent once may still
//! be on its way.

use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::{
    BatchMode, PostBatchRequest, Posting, PostingOrigin, PostingResult,
};
use bursar_server::Outbound;
use futures::future::join_all;
use tonic::{Code, Status};

use super::ATTEMPT_TIMEOUT;
use crate::group::{self, Crowd, Group, Piece};

/// A posting of one caller.
struct Slip {
    posting: Posting,
    actor: String,
}

/// The result of a posting. What the ledger did not take for its form has none.
type Outcome = Result<Option<PostingResult>, Status>;

/// The way into the calls.
#[derive(Clone)]
pub(super) struct SharedCalls(Group<Slip, Outcome>);

impl SharedCalls {
    /// Sends a posting once.
    pub(super) async fn post(&self, posting: Posting, actor: String) -> Outcome {
        match self.0.join(Slip { posting, actor }).await {
            Some(outcome) => outcome,
            None => Err(Status::unknown("the call went down with its worker")),
        }
    }
}

/// The way into the calls, and the work that makes them.
pub(super) fn calls(
    client: LedgerServiceClient<Outbound>,
    crowd: &Crowd,
) -> (
    SharedCalls,
    impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    let (group, inbox) = group::queue(crowd);
    // Who has left knows that the posting may be on its way, so it need not be.
    let inbox = inbox.skipping_left();
    let carrying = inbox.serve(move |slips| carry(client.clone(), slips));
    (SharedCalls(group), carrying)
}

#[tracing::instrument(name = "ledger.carry", skip_all, fields(postings = slips.len()))]
async fn carry(client: LedgerServiceClient<Outbound>, slips: Vec<Piece<Slip>>) -> Vec<Outcome> {
    if slips.is_empty() {
        return Vec::new();
    }
    let (postings, origins): (Vec<_>, Vec<_>) = slips.into_iter().map(parts).unzip();
    match send(&client, postings.clone(), origins.clone()).await {
        Ok(results) => outcomes(&postings, results),
        Err(status) if status.code() == Code::InvalidArgument && postings.len() > 1 => {
            let alone = postings.into_iter().zip(origins).map(|(posting, origin)| {
                let client = client.clone();
                async move {
                    let results = send(&client, vec![posting.clone()], vec![origin]).await?;
                    let mut outcomes = outcomes(&[posting], results);
                    outcomes.pop().unwrap_or_else(|| Err(undecided()))
                }
            });
            join_all(alone).await
        }
        Err(status) => vec![Err(status); postings.len()],
    }
}

/// One outcome a posting, each by its own result only.
fn outcomes(postings: &[Posting], results: Vec<PostingResult>) -> Vec<Outcome> {
    let mut results = results.into_iter();
    postings
        .iter()
        .map(|posting| {
            let result = results.next();
            let own = result.filter(|result| {
                result.posting_id == posting.posting_id && result.outcome.is_some()
            });
            own.map(Some).ok_or_else(undecided)
        })
        .collect()
}

/// No answer about a posting that was sent.
fn undecided() -> Status {
    Status::unavailable("the ledger has not decided about the posting")
}

fn parts(slip: Piece<Slip>) -> (Posting, PostingOrigin) {
    let origin = PostingOrigin {
        actor: slip.work.actor,
        correlation_id: slip.correlation.to_string(),
    };
    (slip.work.posting, origin)
}

async fn send(
    client: &LedgerServiceClient<Outbound>,
    postings: Vec<Posting>,
    origins: Vec<PostingOrigin>,
) -> Result<Vec<PostingResult>, Status> {
    let request = PostBatchRequest {
        postings,
        mode: BatchMode::Independent.into(),
        origins,
    };
    let mut client = client.clone();
    match tokio::time::timeout(ATTEMPT_TIMEOUT, client.post_batch(request)).await {
        Ok(response) => Ok(response?.into_inner().results),
        Err(_) => Err(Status::deadline_exceeded("the ledger is slow to answer")),
    }
}

#[cfg(test)]
mod tests {
    use bursar_contracts::wallet::v1::PostingApplied;
    use bursar_contracts::wallet::v1::posting_result::Outcome as Decided;

    use super::*;

    fn posting(id: &str) -> Posting {
        Posting {
            posting_id: id.to_owned(),
            ..Posting::default()
        }
    }

    fn result(id: &str, is_decided: bool) -> PostingResult {
        PostingResult {
            posting_id: id.to_owned(),
            outcome: is_decided.then(|| Decided::Applied(PostingApplied::default())),
            ..PostingResult::default()
        }
    }

    /// A posting is answered by a result of its own with an outcome, and by nothing
    /// else; what is not answered is no refusal.
    #[test]
    fn only_an_outcome_of_its_own_answers_a_posting() {
        let postings = ["a", "b", "c", "d"].map(posting);
        let results = vec![result("a", true), result("b", false), result("x", true)];
        let outcomes = outcomes(&postings, results);
        let answered: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(answered, [true, false, false, false]);
        for outcome in &outcomes[1..] {
            let status = outcome.as_ref().expect_err("it is not answered");
            assert_eq!(status.code(), Code::Unavailable);
        }
    }
}
