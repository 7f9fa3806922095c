//! GetCheckpoint: a signature over a block, and the key that verifies it.

use bursar_contracts::wallet::v1::{GetCheckpointRequest, GetCheckpointResponse};
use tonic::{Request, Response, Status};

use super::Proofs;
use crate::contract::proof;
use crate::error::{Error, ProofError};
use crate::store::proof::checkpoints;

pub(super) async fn handle(
    service: &Proofs,
    request: Request<GetCheckpointRequest>,
) -> Result<Response<GetCheckpointResponse>, Status> {
    let height = u64::try_from(request.get_ref().height).unwrap_or_default();
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = if height == 0 {
        checkpoints::latest(&mut connection).await
    } else {
        checkpoints::at(&mut connection, height).await
    };
    let signed = found
        .map_err(Error::from)?
        .ok_or(ProofError::CheckpointNotFound)?;
    Ok(Response::new(GetCheckpointResponse {
        checkpoint: Some(proof::checkpoint(&signed.checkpoint)),
        public_key: signed.public_key.to_string(),
    }))
}
