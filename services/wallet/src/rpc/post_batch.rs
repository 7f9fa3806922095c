//! PostBatch: posts movements of money through the ledger's queue.

use bursar_contracts::wallet::v1::{PostBatchRequest, PostBatchResponse, PostingResult};
use bursar_server::Context;
use bursar_status::correlation;
use futures::future::join_all;
use tonic::{Request, Response, Status};

use super::Postings;
use crate::contract::posting::{self, Origin};
use crate::domain::batch::Mode;
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
    let results = match origins {
        None => {
            let order = Order {
                postings,
                mode: posting::mode(&request),
                actor: context.caller.actor(),
                deadline: context.deadline,
            };
            let outcomes = service.ledger.post(order).await?;
            let results = ids.into_iter().zip(&outcomes);
            results
                .map(|(id, outcome)| posting::result(id, outcome))
                .collect()
        }
        Some(origins) => post_each(service, &context, postings, origins).await?,
    };
    Ok(Response::new(PostBatchResponse { results }))
}

/// Posts for several: each posting in an order of its own, in the name of whoever
/// is behind it. They are queued at once, so the writers still find them together. One
/// that could not be decided about has no outcome; when that is all of them, the call
/// fails.
async fn post_each(
    service: &Postings,
    context: &Context,
    postings: Vec<Posting>,
    origins: Vec<Origin>,
) -> Result<Vec<PostingResult>, Status> {
    let orders = postings.into_iter().zip(origins).map(|(posting, origin)| {
        let id = posting.id;
        let order = Order {
            postings: vec![posting],
            mode: Mode::Independent,
            actor: origin.actor,
            deadline: context.deadline,
        };
        let posted = correlation::scope(origin.correlation, service.ledger.post(order));
        async move { (id, posted.await) }
    });
    let posted = join_all(orders).await;
    let mut results = Vec::with_capacity(posted.len());
    let (mut is_decided, mut failure) = (false, None);
    for (id, posted) in posted {
        match posted {
            Ok(outcomes) => {
                is_decided = true;
                results.extend(outcomes.iter().map(|outcome| posting::result(id, outcome)));
            }
            Err(error) => {
                results.push(PostingResult {
                    posting_id: id.to_string(),
                    ..PostingResult::default()
                });
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if !is_decided => Err(error.into()),
        _ => Ok(results),
    }
}
