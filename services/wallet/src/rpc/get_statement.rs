//! GetStatement: opening, entries and closing of a wallet, page by page.

use bursar_aip::page;
use bursar_contracts::wallet::v1::{GetStatementRequest, GetStatementResponse};
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::history_service::Histories;
use super::statement::Reading;
use crate::contract::history as contract;
use crate::domain::history::Position;
use crate::error::Error;

/// The list's name in its page tokens.
const LIST: &str = "statement";

/// Where a page ended, and of which version of the wallet the statement is.
#[derive(Serialize, Deserialize)]
struct Cursor {
    as_of: i64,
    /// In microseconds of the Unix epoch.
    at_us: i64,
    version: i64,
}

impl Cursor {
    fn of(as_of: i64, position: Position) -> Self {
        let micros = position.at.unix_timestamp_nanos() / 1_000;
        Self {
            as_of,
            at_us: i64::try_from(micros).unwrap_or(i64::MAX),
            version: position.version,
        }
    }

    /// The place; `None` for a token that somebody made up.
    fn position(&self) -> Option<Position> {
        let nanos = i128::from(self.at_us) * 1_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
        Some(Position {
            at,
            version: self.version,
        })
    }
}

pub(super) async fn handle(
    service: &Histories,
    request: Request<GetStatementRequest>,
) -> Result<Response<GetStatementResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let basis = contract::basis(request.basis());
    let period = contract::period(request.from.as_ref(), request.to.as_ref())?;
    let (from, to) = (period.from.to_string(), period.to.to_string());
    let basis_text = format!("{basis:?}");
    let filter = [request.wallet_id.as_str(), &from, &to, &basis_text];
    let cursor: Option<Cursor> =
        page::decode(LIST, &filter, &request.page_token).map_err(Error::from)?;
    let wallet = service.wallet(&context, &request.wallet_id).await?;
    // A token may only narrow what is read: never beyond the wallet or the period.
    let as_of = cursor
        .as_ref()
        .map_or(wallet.version, |cursor| cursor.as_of);
    let as_of = as_of.clamp(0, wallet.version);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let reading = Reading::begin(&mut connection, &wallet, as_of, basis, period).await?;
    let start = reading.start();
    let end = Position::before(period.to);
    let after = match &cursor {
        Some(cursor) => cursor
            .position()
            .filter(|place| (start..end).contains(place))
            .ok_or(Error::PageToken(page::PageTokenInvalid))?,
        None => start,
    };
    let size = page::size(request.page_size);
    let part = reading.part(&mut connection, after, size).await?;
    let next_page_token = part
        .next
        .map(|next| page::encode(LIST, &filter, &Cursor::of(as_of, next)))
        .unwrap_or_default();
    Ok(Response::new(GetStatementResponse {
        statement: Some(contract::statement(&reading.head)),
        entries: part.lines.iter().map(contract::statement_entry).collect(),
        next_page_token,
    }))
}
