//! GetInclusionProof: what leads from a posting to a signature.
//!
//! The leaf is a hash over the whole posting, so the proof shows the balances of
//! all its wallets. A user is shown it only if all of them are their own.

use std::cmp;
use std::time::Duration;

use bursar_contracts::wallet::v1::{GetInclusionProofRequest, GetInclusionProofResponse};
use bursar_proof::{InclusionProof, merkle};
use bursar_server::Context;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Proofs;
use crate::contract::proof;
use crate::domain::posting::PostingId;
use crate::error::{Error, ProofError};
use crate::rpc::required_owner;
use crate::store::proof::{blocks, checkpoints, postings};

/// The longest that a caller is told to wait.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

pub(super) async fn handle(
    service: &Proofs,
    request: Request<GetInclusionProofRequest>,
) -> Result<Response<GetInclusionProofResponse>, Status> {
    let context = Context::of(&request)?;
    let owner = required_owner(context.reach()?);
    // The contract's bounds make it a UUID.
    let id: Uuid = request
        .get_ref()
        .posting_id
        .parse()
        .map_err(|_| ProofError::PostingNotFound)?;
    let posting = PostingId::from_uuid(id);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let recorded_at =
        postings::recorded_at(&mut connection, &context.caller.tenant, posting, owner)
            .await
            .map_err(Error::from)?
            .ok_or(ProofError::PostingNotFound)?;
    let height = blocks::height_of(&mut connection, posting, recorded_at)
        .await
        .map_err(Error::from)?;
    let proof = match height {
        Some(height) => prove(&mut connection, height, id).await?,
        None => None,
    };
    let retry_after = cmp::min(service.checkpoint_interval, LONGEST_RETRY);
    let proof = proof.ok_or(ProofError::NotSignedYet { retry_after })?;
    Ok(Response::new(GetInclusionProofResponse {
        proof: Some(proof::inclusion(proof)),
    }))
}

/// The proof of a posting in the block of a height; `None` before it is signed.
async fn prove(
    conn: &mut PgConnection,
    height: u64,
    posting: Uuid,
) -> Result<Option<InclusionProof>, Error> {
    let Some(signed) = checkpoints::first_from(conn, height).await? else {
        return Ok(None);
    };
    let Some(sealed) = blocks::at(conn, height).await? else {
        return Ok(None);
    };
    let following = blocks::between(conn, height + 1, signed.checkpoint.height).await?;
    let record = postings::records(conn, &[posting]).await?.pop().flatten();
    let index = sealed.postings.iter().position(|id| *id == posting);
    let (Some(posting), Some(index)) = (record, index) else {
        return Ok(None);
    };
    let path = merkle::path(&sealed.leaves, index).unwrap_or_default();
    Ok(Some(InclusionProof {
        posting,
        leaf_index: u32::try_from(index).unwrap_or(u32::MAX),
        path,
        block: sealed.block,
        following,
        checkpoint: signed.checkpoint,
    }))
}
