//! The ledger's proof, a file an RPC.

mod export_ledger;
mod get_checkpoint;
mod get_inclusion_proof;
mod list_blocks;
mod list_checkpoints;

use std::time::Duration;

use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::proof_service_server::ProofService;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tonic::{Request, Response, Status};

/// The ledger's proof.
pub(crate) struct Proofs {
    /// The database.
    pub(crate) pool: PgPool,
    /// How long new blocks wait for a signature at most.
    pub(crate) checkpoint_interval: Duration,
}

/// Where a page of blocks or checkpoints ended.
#[derive(Serialize, Deserialize)]
struct Cursor {
    height: u64,
}

#[tonic::async_trait]
impl ProofService for Proofs {
    type ExportLedgerStream = export_ledger::Parts;

    async fn get_checkpoint(
        &self,
        request: Request<proto::GetCheckpointRequest>,
    ) -> Result<Response<proto::GetCheckpointResponse>, Status> {
        get_checkpoint::handle(self, request).await
    }

    async fn list_checkpoints(
        &self,
        request: Request<proto::ListCheckpointsRequest>,
    ) -> Result<Response<proto::ListCheckpointsResponse>, Status> {
        list_checkpoints::handle(self, request).await
    }

    async fn list_blocks(
        &self,
        request: Request<proto::ListBlocksRequest>,
    ) -> Result<Response<proto::ListBlocksResponse>, Status> {
        list_blocks::handle(self, request).await
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<proto::GetInclusionProofRequest>,
    ) -> Result<Response<proto::GetInclusionProofResponse>, Status> {
        get_inclusion_proof::handle(self, request).await
    }

    async fn export_ledger(
        &self,
        request: Request<proto::ExportLedgerRequest>,
    ) -> Result<Response<Self::ExportLedgerStream>, Status> {
        export_ledger::handle(self, request).await
    }
}
