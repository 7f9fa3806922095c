//! ExportLedger: blocks, their postings and their checkpoints as a file.

use std::cmp;
use std::collections::VecDeque;
use std::pin::Pin;

use bursar_contracts::google::api::HttpBody;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_contracts::wallet::v1::{ExportLedgerRequest, ExportLedgerResponse};
use bursar_server::database;
use bursar_status::internal;
use futures::{Stream, stream};
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use super::Proofs;
use crate::error::{Error, ProofError};
use crate::export::{Export, ExportFailed};
use crate::store::proof::blocks;

/// The most postings of one call, so that it ends within its deadline.
const MAX_POSTINGS: u64 = 100_000;
const CONTENT_TYPE: &str = "application/jsonl";

/// The parts of the file.
pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<ExportLedgerResponse, Status>> + Send>>;

/// A file that is being sent. A part is read when the one before was taken.
struct File {
    pool: PgPool,
    export: Export,
    waiting: VecDeque<Vec<u8>>,
}

pub(super) async fn handle(
    service: &Proofs,
    request: Request<ExportLedgerRequest>,
) -> Result<Response<Parts>, Status> {
    let request = request.into_inner();
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let (first, last) = range(&mut connection, &request).await?;
    drop(connection);
    let file = File {
        pool: service.pool.clone(),
        export: Export::new(first, last),
        waiting: VecDeque::new(),
    };
    let parts = stream::try_unfold(file, |mut file| async move {
        let part = file.next().await.map_err(status)?;
        Ok(part.map(|part| (response(part), file)))
    });
    Ok(Response::new(Box::pin(parts)))
}

/// The heights to export, once it is clear that they are there and not too many.
async fn range(
    conn: &mut PgConnection,
    request: &ExportLedgerRequest,
) -> Result<(u64, u64), Status> {
    let asked = |height: i64| u64::try_from(height).ok().filter(|height| *height > 0);
    let latest = blocks::latest(conn).await.map_err(Error::from)?;
    let latest = latest.map_or(0, |block| block.height);
    let first = asked(request.from_height).unwrap_or(1);
    let last = asked(request.to_height).unwrap_or(latest);
    if last > latest || first > cmp::max(last, 1) {
        return Err(ProofError::BlockNotFound.into());
    }
    if latest == 0 {
        return Ok((1, 0));
    }
    let before = match first {
        1 => 0,
        _ => total(conn, first - 1).await?,
    };
    let postings = total(conn, last).await?.saturating_sub(before);
    if postings > MAX_POSTINGS {
        let limit = MAX_POSTINGS;
        return Err(ProofError::ExportTooLong { postings, limit }.into());
    }
    Ok((first, last))
}

/// How many postings there are up to the block of a height.
async fn total(conn: &mut PgConnection, height: u64) -> Result<u64, Status> {
    let found = blocks::between(conn, height, height).await;
    let found = found.map_err(Error::from)?;
    let block = found.first().ok_or(ProofError::BlockNotFound)?;
    Ok(block.postings_total)
}

impl File {
    /// The next part. The connection is given back between blocks, so that a slow
    /// reader keeps none.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ExportFailed> {
        if self.waiting.is_empty() {
            let mut connection = self.pool.acquire().await?;
            let Some(parts) = self.export.next(&mut connection).await? else {
                return Ok(None);
            };
            self.waiting.extend(parts);
        }
        Ok(self.waiting.pop_front())
    }
}

fn response(data: Vec<u8>) -> ExportLedgerResponse {
    ExportLedgerResponse {
        file: Some(HttpBody {
            content_type: CONTENT_TYPE.to_owned(),
            data,
            extensions: Vec::new(),
        }),
    }
}

fn status(error: ExportFailed) -> Status {
    match error {
        ExportFailed::Database(error) => database::status(&error),
        ExportFailed::BlockMissing { .. }
        | ExportFailed::PostingMissing { .. }
        | ExportFailed::OutOfOrder(_)
        | ExportFailed::Json(_) => internal(ErrorReason::Internal, &error),
    }
}
