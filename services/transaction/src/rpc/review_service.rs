//! The operators' service for what waits for a person.

use bursar_contracts::transaction::v1::review_service_server::ReviewService;
use bursar_contracts::transaction::v1::{
    ListReviewsRequest, ListReviewsResponse, ResolveReviewRequest, ResolveReviewResponse,
};
use tonic::{Request, Response, Status};

use super::{review_list, review_resolution};
use crate::advance::Engine;

/// The service's handlers.
pub(crate) struct Reviews {
    engine: Engine,
}

impl Reviews {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl ReviewService for Reviews {
    async fn list_reviews(
        &self,
        request: Request<ListReviewsRequest>,
    ) -> Result<Response<ListReviewsResponse>, Status> {
        review_list::handle(&self.engine, request).await
    }

    async fn resolve_review(
        &self,
        request: Request<ResolveReviewRequest>,
    ) -> Result<Response<ResolveReviewResponse>, Status> {
        review_resolution::handle(&self.engine, request).await
    }
}
