//! `WatchBulkTransfer`: a bulk transfer's progress, as a stream.
//!
//! The row is looked at again and again: it is one read by its key, wherever the
//! bulk transfer is worked on, and it needs nothing but the database. What the
//! reader has not taken is not looked for, so a slow reader costs no memory.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_contracts::transaction::v1::{WatchBulkTransferRequest, WatchBulkTransferResponse};
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_server::Context;
use bursar_status::StatusBuilder;
use futures::{Stream, stream};
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::bulk_reads::{id, visible};
use crate::advance::Engine;
use crate::bulk::Bulk;
use crate::bulk::error::Error;
use crate::store::bulk;
use crate::watching::token;

/// How many watches may be open in a process.
pub(super) const MAX_WATCHES: usize = 256;
/// How often the row is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long a watch lasts at most.
const LONGEST: Duration = Duration::from_secs(600);

type Progress = Pin<Box<dyn Stream<Item = Result<WatchBulkTransferResponse, Status>> + Send>>;

/// A watch under way.
struct Watch {
    pool: PgPool,
    /// As it was told last.
    told: Bulk,
    until: Instant,
    shutdown: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

pub(super) async fn handle(
    engine: &Engine,
    watches: Arc<Semaphore>,
    shutdown: CancellationToken,
    request: Request<WatchBulkTransferRequest>,
) -> Result<Response<Progress>, Status> {
    let context = Context::of(&request)?;
    let id = id(&request.into_inner().bulk_transfer_id)?;
    let permit = watches
        .try_acquire_owned()
        .map_err(|_| Error::WatchersExceeded)?;
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let found = visible(&mut conn, &context, id).await?;
    drop(conn);
    let left = token::left(&context.caller).unwrap_or(LONGEST);
    let watch = Watch {
        pool: engine.pool.clone(),
        told: found.clone(),
        until: Instant::now() + left.min(LONGEST),
        shutdown,
        _permit: permit,
    };
    let first = stream::iter([Ok(message(&found))]);
    let rest = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(changed)) => Some((Ok(message(&changed)), Some(watch))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    });
    Ok(Response::new(Box::pin(futures::StreamExt::chain(
        first, rest,
    ))))
}

fn message(bulk: &Bulk) -> WatchBulkTransferResponse {
    WatchBulkTransferResponse {
        bulk_transfer: Some(bulk.message()),
    }
}

impl Watch {
    /// The next change; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bulk>, Status> {
        loop {
            if self.told.is_over() {
                return Ok(None);
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.shutdown.cancelled() => return Err(ended("the service is stopping")),
            }
            if Instant::now() >= self.until {
                return Err(ended("the watch has lasted as long as it may"));
            }
            let mut conn = self.pool.acquire().await.map_err(Error::from)?;
            let found = bulk::find(&mut conn, self.told.id)
                .await
                .map_err(Error::from)?;
            let found = found.ok_or(Error::NotFound)?;
            if found != self.told {
                self.told = found.clone();
                return Ok(Some(found));
            }
        }
    }
}

/// A watch that ends before what it watches; the caller may watch again.
fn ended(message: &str) -> Status {
    StatusBuilder::new(Code::Unavailable, ErrorReason::Unavailable, message)
        .retry_after(Duration::from_secs(1))
        .into()
}
