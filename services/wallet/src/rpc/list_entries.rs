//! ListEntries: a wallet's ledger, page by page, both ways.

use bursar_aip::id::{TenantId, UserId};
use bursar_aip::page;
use bursar_contracts::wallet::v1::{EntryOrder, ListEntriesRequest, ListEntriesResponse};
use bursar_server::{Context, Reads};
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::{Wallets, required_owner};
use crate::contract::{enums, posting, wallet};
use crate::domain::entry_walk::{self, Start, Walk};
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::entries::{self, ListedEntry, Wanted};
use crate::store::{history, wallets};

/// The list's name in its page tokens.
const LIST: &str = "wallet-entries";

/// How many versions a statement looks at when there is a filter.
const FILTERED_PIECE: i64 = 1_000;

/// Where a page begins. The names are short because tokens travel in URLs.
#[derive(Serialize, Deserialize)]
struct Cursor {
    /// Beyond which version.
    a: i64,
    /// Whether against the order of the list.
    b: bool,
}

/// What a request asks for.
struct Question {
    start: Option<Start>,
    is_ascending: bool,
    size: i64,
    from: Option<OffsetDateTime>,
    before: Option<OffsetDateTime>,
    wanted: Wanted,
}

pub(super) async fn handle(
    service: &Wallets,
    request: Request<ListEntriesRequest>,
) -> Result<Response<ListEntriesResponse>, Status> {
    let context = Context::of(&request)?;
    let owner = required_owner(context.reach()?);
    let request = request.into_inner();
    let filter = filter(&request);
    let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
    let question = question(&request, &filter)?;
    let tenant = &context.caller.tenant;
    let page = page_of(&service.reads, tenant, owner, &question).await?;
    let token = |start: Option<Start>| match start {
        Some(start) => {
            let cursor = Cursor {
                a: start.after,
                b: start.is_backward,
            };
            page::encode(LIST, &filter, &cursor)
        }
        None => String::new(),
    };
    Ok(Response::new(ListEntriesResponse {
        entries: page.entries.iter().map(wallet::entry).collect(),
        next_page_token: token(page.next),
        previous_page_token: token(page.previous),
    }))
}

async fn page_of(
    reads: &Reads,
    tenant: &TenantId,
    owner: Option<UserId>,
    question: &Question,
) -> Result<Page, Error> {
    let id = question.wanted.wallet;
    let mut connection = reads.acquire().await?;
    // A wallet's owner never changes, so looking first and listing then is safe.
    let mut found = wallets::find(&mut connection, tenant, id, owner).await?;
    if found.is_none()
        && let Some(current) = reads.acquire_current().await?
    {
        connection = current;
        found = wallets::find(&mut connection, tenant, id, owner).await?;
    }
    let wallet = found.ok_or(Error::WalletNotFound)?;
    Ok(read(&mut connection, question, &wallet).await?)
}

fn question(request: &ListEntriesRequest, filter: &[&str]) -> Result<Question, Status> {
    let instant =
        |at: Option<&Timestamp>, path| at.map(|at| posting::instant(at, path)).transpose();
    let cursor: Option<Cursor> =
        page::decode(LIST, filter, &request.page_token).map_err(Error::from)?;
    let from = instant(request.recorded_from.as_ref(), "recorded_from")?;
    let before = instant(request.recorded_before.as_ref(), "recorded_before")?;
    if from
        .zip(before)
        .is_some_and(|(from, before)| from >= before)
    {
        return Err(posting::invalid(
            "recorded_before",
            "must be after recorded_from",
        ));
    }
    Ok(Question {
        start: cursor.map(|cursor| Start {
            after: cursor.a,
            is_backward: cursor.b,
        }),
        is_ascending: request.order() == EntryOrder::OldestFirst,
        size: page::size(request.page_size),
        from,
        before,
        wanted: Wanted {
            wallet: bursar_aip::id::parse_field("wallet_id", &request.wallet_id)?,
            bucket: enums::filter_bucket_of(request.bucket()),
            kinds: request.kinds().filter_map(enums::filter_kind_of).collect(),
        },
    })
}

/// Everything of a request that chooses entries, for its page tokens.
fn filter(request: &ListEntriesRequest) -> Vec<String> {
    let instant = |at: Option<&Timestamp>| match at {
        Some(at) => format!("{}.{:09}", at.seconds, at.nanos),
        None => String::new(),
    };
    let mut filter = vec![
        request.wallet_id.clone(),
        (request.order() == EntryOrder::OldestFirst).to_string(),
        request.bucket.to_string(),
        instant(request.recorded_from.as_ref()),
        instant(request.recorded_before.as_ref()),
    ];
    filter.extend(request.kinds.iter().map(i32::to_string));
    filter
}

struct Page {
    entries: Vec<ListedEntry>,
    next: Option<Start>,
    previous: Option<Start>,
}

/// The page. What is read was committed before and never changes, so several
/// statements need no common snapshot.
async fn read(
    conn: &mut PgConnection,
    question: &Question,
    wallet: &Wallet,
) -> Result<Page, sqlx::Error> {
    let first = match question.from {
        Some(from) => 1 + history::last_before(&mut *conn, wallet.id, wallet.version, from).await?,
        None => 1,
    };
    let last = match question.before {
        Some(before) => history::last_before(&mut *conn, wallet.id, wallet.version, before).await?,
        None => wallet.version,
    };
    let walk = entry_walk::walk(question.start, question.is_ascending, first, last);
    // One more than the page, to know whether another entry follows.
    let limit = question.size + 1;
    let piece = if question.wanted.is_all() {
        limit
    } else {
        FILTERED_PIECE
    };
    let mut entries: Vec<ListedEntry> = Vec::new();
    for versions in walk.pieces(piece) {
        let left = limit - i64::try_from(entries.len()).unwrap_or(limit);
        if left <= 0 {
            break;
        }
        let wanted = &question.wanted;
        let more = entries::in_range(&mut *conn, wanted, versions, walk.is_ascending, left).await?;
        entries.extend(more);
    }
    let end = cut(&mut entries, question.size, &walk);
    let is_backward = question.start.is_some_and(|start| start.is_backward);
    if is_backward {
        entries.reverse();
    }
    let onward = end.map(|after| Start { after, is_backward });
    let opposite = question.start.map(|start| Start {
        after: opposite_edge(&entries, start, walk.is_ascending),
        is_backward: !is_backward,
    });
    let (next, previous) = if is_backward {
        (opposite, onward)
    } else {
        (onward, opposite)
    };
    Ok(Page {
        entries,
        next,
        previous,
    })
}

/// Cuts what was read to the page's size. The version beyond which the walk goes
/// on; `None` at its end.
fn cut(entries: &mut Vec<ListedEntry>, size: i64, walk: &Walk) -> Option<i64> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if entries.len() > size {
        entries.truncate(size);
        entries.last().map(|entry| entry.version)
    } else {
        walk.goes_on.then_some(walk.end)
    }
}

/// Where the page on the side from which this one was reached begins: beyond
/// the entry nearest to it or, without one, beyond where this one began.
fn opposite_edge(entries: &[ListedEntry], start: Start, is_ascending: bool) -> i64 {
    let nearest = if start.is_backward {
        entries.last()
    } else {
        entries.first()
    };
    match nearest {
        Some(entry) => entry.version,
        None if is_ascending => start.after.saturating_add(1),
        None => start.after.saturating_sub(1),
    }
}
