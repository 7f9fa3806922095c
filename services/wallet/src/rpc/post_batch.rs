//! PostBatch: posts movements of money through the ledger's queue.

use bursar_contracts::wallet::v1::{PostBatchRequest, PostBatchResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::Postings;
use crate::contract::posting;
use crate::domain::posting::PostingId;
use crate::jobs::queue::Order;

pub(super) async fn handle(
    service: &Postings,
    request: Request<PostBatchRequest>,
) -> Result<Response<PostBatchResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let postings = posting::postings(&request, &context.caller.tenant)?;
    let ids: Vec<PostingId> = postings.iter().map(|posting| posting.id).collect();
    // A caller that leaves drops only the waiting: the order is in the queue.
    let outcomes = service
        .ledger
        .post(Order {
            postings,
            mode: posting::mode(&request),
            actor: context.caller.actor(),
            deadline: context.deadline,
        })
        .await?;
    let results = ids
        .into_iter()
        .zip(&outcomes)
        .map(|(id, outcome)| posting::result(id, outcome))
        .collect();
    Ok(Response::new(PostBatchResponse { results }))
}
