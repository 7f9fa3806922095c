//! ExportStatement: a whole statement as CSV.
//!
//! The file is sent in parts as it is read: at no moment is more than one part in
//! memory, and no transaction or connection is held while the reader takes its
//! time. A reader that leaves ends it.

use std::pin::Pin;
use std::time::Instant;

use bursar_contracts::google::api::HttpBody;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_contracts::wallet::v1::{ExportStatementRequest, ExportStatementResponse};
use bursar_server::Context;
use bursar_status::StatusBuilder;
use futures::{Stream, StreamExt, stream};
use sqlx::PgPool;
use tonic::{Code, Request, Response, Status};

use super::history_service::Histories;
use super::statement::Reading;
use super::statement_file;
use crate::contract::history as contract;
use crate::domain::history::Position;
use crate::error::Error;
use crate::store::statements;

/// The most entries that a file has.
const MAX_ENTRIES: i64 = 100_000;
/// How many entries a part has: some 100 KiB.
const PART_ENTRIES: i64 = 500;
const CONTENT_TYPE: &str = "text/csv; charset=utf-8; header=present";

type Parts = Pin<Box<dyn Stream<Item = Result<ExportStatementResponse, Status>> + Send>>;

/// A file that is being sent.
struct File {
    pool: PgPool,
    reading: Reading,
    /// Where the next part begins; `None` after the last.
    next: Option<Position>,
    deadline: Instant,
}

pub(super) async fn handle(
    service: &Histories,
    request: Request<ExportStatementRequest>,
) -> Result<Response<Parts>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let basis = contract::basis(request.basis());
    let period = contract::period(request.from.as_ref(), request.to.as_ref())?;
    let wallet = service.wallet(&context, &request.wallet_id).await?;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let reading = Reading::begin(&mut connection, &wallet, wallet.version, basis, period).await?;
    let start = reading.start();
    let entries = statements::count(&mut connection, &reading.section(start), MAX_ENTRIES)
        .await
        .map_err(Error::from)?;
    if entries > MAX_ENTRIES {
        let limit = MAX_ENTRIES;
        return Err(Error::StatementTooLong { entries, limit }.into());
    }
    drop(connection);
    let mut file = File {
        pool: service.pool.clone(),
        reading,
        next: Some(start),
        deadline: context.deadline,
    };
    // The first part is read before the call is answered, so that a fault is an
    // answer and not a file that breaks off.
    let first = file.part().await?;
    let rest = stream::unfold(Some(file), |file| async {
        let mut file = file?;
        file.next?;
        match file.part().await {
            Ok(part) => Some((Ok(part), Some(file))),
            Err(status) => Some((Err(status), None)),
        }
    });
    let parts = stream::iter([Ok(first)]).chain(rest);
    let mut response: Response<Parts> = Response::new(Box::pin(parts));
    let name = format!("attachment; filename=\"statement-{}.csv\"", wallet.id);
    if let Ok(disposition) = name.parse() {
        let metadata = response.metadata_mut();
        metadata.insert("content-disposition", disposition);
    }
    Ok(response)
}

impl File {
    /// The next part, with what comes before the first and after the last line.
    async fn part(&mut self) -> Result<ExportStatementResponse, Status> {
        let Some(after) = self.next else {
            return Ok(ExportStatementResponse::default());
        };
        if Instant::now() >= self.deadline {
            return Err(StatusBuilder::new(
                Code::DeadlineExceeded,
                ErrorReason::DeadlineExceeded,
                "the deadline passed before the whole file was sent",
            )
            .into());
        }
        let mut text = String::new();
        let head = &self.reading.head;
        if after == self.reading.start() {
            statement_file::begin(&mut text, head);
        }
        let mut connection = self.pool.acquire().await.map_err(Error::from)?;
        let part = self
            .reading
            .part(&mut connection, after, PART_ENTRIES)
            .await?;
        drop(connection);
        for line in &part.lines {
            statement_file::line(&mut text, head, line);
        }
        if part.next.is_none() {
            statement_file::end(&mut text, head);
        }
        self.next = part.next;
        Ok(ExportStatementResponse {
            file: Some(HttpBody {
                content_type: CONTENT_TYPE.to_owned(),
                data: text.into_bytes(),
                extensions: Vec::new(),
            }),
        })
    }
}
