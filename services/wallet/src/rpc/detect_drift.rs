//! DetectDrift: differences between projections, balances and entries.

use std::time::{Duration, Instant};

use bursar_aip::id::{TenantId, WalletId, parse_field};
use bursar_aip::page;
use bursar_contracts::wallet::v1::{DetectDriftRequest, DetectDriftResponse};
use bursar_server::{Context, now};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use super::projection_service::{Projections, require_wallet};
use crate::contract::projection as contract;
use crate::error::Error;
use crate::jobs::rebuild::wallet::{Mode, Stopped, compare};
use crate::jobs::rebuild::watch::Watch;
use crate::store::rebuilds;

/// The list's name in its page tokens.
const LIST: &str = "drift";
/// How long a page takes at most before it ends where it is.
const PAGE_TIME: Duration = Duration::from_secs(8);
/// How long one wallet takes at most before it is skipped.
const WALLET_TIME: Duration = Duration::from_secs(10);

/// Where a page ended.
#[derive(Serialize, Deserialize)]
struct Cursor {
    wallet: WalletId,
}

/// The wallets of a page, and whether others follow.
struct Page {
    wallets: Vec<WalletId>,
    has_next: bool,
}

pub(super) async fn handle(
    service: &Projections,
    request: Request<DetectDriftRequest>,
) -> Result<Response<DetectDriftResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let filter = [request.wallet_id.as_str()];
    let cursor: Option<Cursor> =
        page::decode(LIST, &filter, &request.page_token).map_err(Error::from)?;
    let tenant = &context.caller.tenant;
    let page = if request.wallet_id.is_empty() {
        let after = cursor.map(|cursor| cursor.wallet);
        several(&service.pool, tenant, after, page::size(request.page_size)).await?
    } else {
        let wallet = parse_field("wallet_id", &request.wallet_id)?;
        require_wallet(&service.pool, tenant, wallet).await?;
        Page {
            wallets: vec![wallet],
            has_next: false,
        }
    };
    let started = Instant::now();
    let mut answer = DetectDriftResponse::default();
    let last = page.wallets.len();
    for (index, wallet) in page.wallets.into_iter().enumerate() {
        look(&service.pool, wallet, &mut answer).await?;
        let has_next = page.has_next || index + 1 < last;
        let is_over = index + 1 == last || started.elapsed() > PAGE_TIME;
        if is_over {
            if has_next {
                answer.next_page_token = page::encode(LIST, &filter, &Cursor { wallet });
            }
            break;
        }
    }
    Ok(Response::new(answer))
}

/// The tenant's wallets after one.
async fn several(
    pool: &PgPool,
    tenant: &TenantId,
    after: Option<WalletId>,
    size: i64,
) -> Result<Page, Error> {
    let mut connection = pool.acquire().await?;
    // One more than the page, to know whether another page follows.
    let mut wallets =
        rebuilds::next_wallets(&mut connection, tenant, now(), after, size + 1).await?;
    let has_next = page::cut(&mut wallets, size).is_some();
    Ok(Page { wallets, has_next })
}

/// Adds what is to be told of one wallet.
async fn look(
    pool: &PgPool,
    wallet: WalletId,
    answer: &mut DetectDriftResponse,
) -> Result<(), Error> {
    let mut watch = Watch::until(Instant::now() + WALLET_TIME);
    match compare(pool, wallet, Mode::Look, &mut watch).await {
        Ok(compared) => {
            answer.wallets_checked += 1;
            answer.differences += compared.projections + i64::from(compared.is_balance_wrong);
            answer
                .drifts
                .extend(compared.kept.iter().map(contract::drift));
            Ok(())
        }
        Err(Stopped::Told) => {
            answer.skipped_wallet_ids.push(wallet.to_string());
            Ok(())
        }
        Err(Stopped::Database(error)) => Err(error.into()),
    }
}
