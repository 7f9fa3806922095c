//! Calls of the ledger that carry the postings of many callers.
//!
//! A posting is one piece of work; what gathers while a call is under way goes with
//! the next one. Each posting names who is behind it and the request it belongs to,
//! because the call itself is nobody's in particular. What becomes of a call becomes
//! of all its postings, but for one refusal: a posting whose form the ledger does not
//! take must not cost its neighbours theirs, so such a call is cut up.

use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::{
    BatchMode, PostBatchRequest, Posting, PostingOrigin, PostingResult,
};
use bursar_server::Outbound;
use tonic::{Code, Status};

use super::ATTEMPT_TIMEOUT;
use crate::group::{self, Group, Piece};

/// A posting of one caller.
struct Slip {
    posting: Posting,
    actor: String,
}

/// The result of a posting; `None` is an answer without one.
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
) -> (
    SharedCalls,
    impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    let (group, inbox) = group::queue();
    let carrying = inbox.serve(move |slips| carry(client.clone(), slips));
    (SharedCalls(group), carrying)
}

#[tracing::instrument(name = "ledger.carry", skip_all, fields(postings = slips.len()))]
async fn carry(client: LedgerServiceClient<Outbound>, slips: Vec<Piece<Slip>>) -> Vec<Outcome> {
    let count = slips.len();
    let (postings, origins): (Vec<_>, Vec<_>) = slips.into_iter().map(parts).unzip();
    match send(&client, postings.clone(), origins.clone()).await {
        Ok(results) => pad(results, count),
        Err(status) if status.code() == Code::InvalidArgument && count > 1 => {
            let mut outcomes = Vec::with_capacity(count);
            for (posting, origin) in postings.into_iter().zip(origins) {
                let sent = send(&client, vec![posting], vec![origin]).await;
                outcomes.push(sent.map(|results| results.into_iter().next()));
            }
            outcomes
        }
        Err(status) => vec![Err(status); count],
    }
}

/// One result a posting, whatever the ledger has sent.
fn pad(results: Vec<PostingResult>, count: usize) -> Vec<Outcome> {
    let given = results.into_iter().map(|result| Ok(Some(result)));
    given
        .chain(std::iter::repeat_with(|| Ok(None)))
        .take(count)
        .collect()
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
