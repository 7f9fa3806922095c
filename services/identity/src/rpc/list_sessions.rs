//! `ListSessions`: the calling user's living sessions, newest first.

use bursar_aip::id::SessionId;
use bursar_aip::page::{self, PageTokenInvalid};
use bursar_contracts::identity::v1::{ListSessionsRequest, ListSessionsResponse, Session};
use bursar_contracts::instant::timestamp;
use bursar_server::{Context, now};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::error::Error;
use crate::rpc::Shared;
use crate::rpc::session::require_alive;
use crate::store::sessions::{self, SessionRow};

/// The list's name in page tokens.
const LIST: &str = "sessions";

/// Where a page ends: the last row's place in the order.
#[derive(Serialize, Deserialize)]
struct Cursor {
    /// When the session started, in microseconds of the Unix epoch.
    at: i64,
    /// The session.
    id: Uuid,
}

impl Cursor {
    fn behind(row: &SessionRow) -> Result<Self, Error> {
        let at = i64::try_from(row.created_at.unix_timestamp_nanos() / 1_000)
            .map_err(|_| Error::Stored { what: "time" })?;
        Ok(Self { at, id: row.id })
    }

    fn place(&self) -> Result<(OffsetDateTime, Uuid), PageTokenInvalid> {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.at) * 1_000)
            .map_err(|_| PageTokenInvalid)?;
        Ok((at, self.id))
    }
}

pub(crate) async fn handle(
    shared: &Shared,
    request: Request<ListSessionsRequest>,
) -> Result<Response<ListSessionsResponse>, Status> {
    let context = Context::of(&request)?;
    let response = list(shared, &context, request.get_ref()).await?;
    Ok(Response::new(response))
}

async fn list(
    shared: &Shared,
    context: &Context,
    message: &ListSessionsRequest,
) -> Result<ListSessionsResponse, Error> {
    let after = page::decode::<Cursor>(LIST, &[], &message.page_token)?
        .map(|cursor| cursor.place())
        .transpose()?;
    let size = page::size(message.page_size);
    let now = now();
    let mut connection = shared.pool.acquire().await?;
    let (user, current) = require_alive(&mut connection, context, now).await?;
    // One row more than asked for tells whether there is another page.
    let mut rows = sessions::list(&mut connection, user, after, now, size + 1).await?;
    let next_page_token = match page::cut(&mut rows, size) {
        Some(last) => page::encode(LIST, &[], &Cursor::behind(last)?),
        None => String::new(),
    };
    Ok(ListSessionsResponse {
        sessions: rows
            .into_iter()
            .map(|row| message_of(row, current))
            .collect(),
        next_page_token,
    })
}

fn message_of(row: SessionRow, current: SessionId) -> Session {
    let id = SessionId::from_uuid(row.id);
    Session {
        session_id: id.to_string(),
        created_at: Some(timestamp(row.created_at)),
        last_used_at: Some(timestamp(row.last_used_at)),
        expires_at: Some(timestamp(row.expires_at)),
        user_agent: row.user_agent,
        current: id == current,
    }
}
