//! The handlers of bulk transfers.

use std::pin::Pin;
use std::sync::Arc;

use bursar_contracts::transaction::v1::bulk_service_server::BulkService;
use bursar_contracts::transaction::v1::{
    CreateBulkTransferRequest, CreateBulkTransferResponse, GetBulkTransferRequest,
    GetBulkTransferResponse, ListBulkTransferItemsRequest, ListBulkTransferItemsResponse,
    WatchBulkTransferRequest, WatchBulkTransferResponse,
};
use futures::Stream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{bulk_create, bulk_reads, bulk_watch};
use crate::advance::Engine;

/// The service's handlers.
pub(crate) struct BulkRpc {
    engine: Engine,
    /// One permit for each watch that may be open.
    watches: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl BulkRpc {
    pub(crate) fn new(engine: Engine, shutdown: CancellationToken) -> Self {
        Self {
            engine,
            watches: Arc::new(Semaphore::new(bulk_watch::MAX_WATCHES)),
            shutdown,
        }
    }
}

#[tonic::async_trait]
impl BulkService for BulkRpc {
    async fn create_bulk_transfer(
        &self,
        request: Request<CreateBulkTransferRequest>,
    ) -> Result<Response<CreateBulkTransferResponse>, Status> {
        bulk_create::handle(&self.engine, request).await
    }

    async fn get_bulk_transfer(
        &self,
        request: Request<GetBulkTransferRequest>,
    ) -> Result<Response<GetBulkTransferResponse>, Status> {
        bulk_reads::get(&self.engine, request).await
    }

    async fn list_bulk_transfer_items(
        &self,
        request: Request<ListBulkTransferItemsRequest>,
    ) -> Result<Response<ListBulkTransferItemsResponse>, Status> {
        bulk_reads::list(&self.engine, request).await
    }

    type WatchBulkTransferStream =
        Pin<Box<dyn Stream<Item = Result<WatchBulkTransferResponse, Status>> + Send>>;

    async fn watch_bulk_transfer(
        &self,
        request: Request<WatchBulkTransferRequest>,
    ) -> Result<Response<Self::WatchBulkTransferStream>, Status> {
        let watches = Arc::clone(&self.watches);
        bulk_watch::handle(&self.engine, watches, self.shutdown.clone(), request).await
    }
}
