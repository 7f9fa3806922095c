//! PostBatch: posts movements of money through the ledger's queue.

use bursar_contracts::wallet::v1::{PostBatchRequest, PostBatchResponse};
use bursar_server::Context;
use bursar_status::correlation;
use futures::future::try_join_all;
use tonic::{Request, Response, Status};

use super::Postings;
use crate::contract::posting::{self, Origin};
use crate::domain::batch::{Mode, Outcome};
use crate::domain::posting::{Posting, PostingId};
use crate::jobs::queue::Order;

pub(super) async fn handle(
    service: &Postings,
    request: Request<PostBatchRequest>,
) -> Result<Response<PostBatchResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let postings = posting::postings(&request, &context.caller.tenant)?;
    let origins = posting::origins(&request)?;
    let ids: Vec<PostingId> = postings.iter().map(|posting| posting.id).collect();
    // A caller that leaves drops only the waiting: the order is in the queue.
    let outcomes = match origins {
        None => {
            let order = Order {
                postings,
                mode: posting::mode(&request),
                actor: context.caller.actor(),
                deadline: context.deadline,
            };
            service.ledger.post(order).await?
        }
        Some(origins) => post_each(service, &context, postings, origins).await?,
    };
    let results = ids
        .into_iter()
        .zip(&outcomes)
        .map(|(id, outcome)| posting::result(id, outcome))
        .collect();
    Ok(Response::new(PostBatchResponse { results }))
}

/// Posts for several: each posting in an order of its own, in the name of whoever
/// is behind it. They are queued at once, so the writers still find them together.
async fn post_each(
    service: &Postings,
    context: &Context,
    postings: Vec<Posting>,
    origins: Vec<Origin>,
) -> Result<Vec<Outcome>, Status> {
    let orders = postings.into_iter().zip(origins).map(|(posting, origin)| {
        let order = Order {
            postings: vec![posting],
            mode: Mode::Independent,
            actor: origin.actor,
            deadline: context.deadline,
        };
        correlation::scope(origin.correlation, service.ledger.post(order))
    });
    let outcomes = try_join_all(orders).await?;
    Ok(outcomes.into_iter().flatten().collect())
}
