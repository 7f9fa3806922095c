//! RebuildProjections: compares projections with the entries and mends them.
//!
//! One wallet is done inside the call, so that its answer is the result. A wallet
//! with so many entries that this takes too long, and all wallets of a tenant, are
//! left to the job that works on rebuilds.

use std::time::{Duration, Instant};

use bursar_aip::id::{TenantId, WalletId, parse_field};
use bursar_contracts::wallet::v1::{RebuildProjectionsRequest, RebuildProjectionsResponse};
use bursar_server::{Context, detached, now};
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use super::once::{Call, once};
use super::projection_service::{Projections, require_wallet};
use crate::contract::projection as contract;
use crate::domain::drift::RebuildId;
use crate::error::Error;
use crate::jobs::rebuild::wallet::{Stopped, compare};
use crate::jobs::rebuild::watch::Watch;
use crate::jobs::rebuild::{count, mode};
use crate::store::rebuilds::{self, Counts, Rebuild, RebuildStatus};

/// How long one wallet may take inside the call. The transaction that holds the
/// idempotency key is idle meanwhile, which the database allows for ten seconds.
const CALL_TIME: Duration = Duration::from_secs(5);

/// What is asked for, and by whom.
struct Asked {
    tenant: TenantId,
    wallet: Option<WalletId>,
    dry_run: bool,
    by: String,
}

pub(super) async fn handle(
    service: &Projections,
    request: Request<RebuildProjectionsRequest>,
) -> Result<Response<RebuildProjectionsResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let wallet = match request.wallet_id.as_str() {
        "" => None,
        text => Some(parse_field("wallet_id", text)?),
    };
    let asked = Asked {
        tenant: context.caller.tenant.clone(),
        wallet,
        dry_run: request.dry_run,
        by: context.caller.actor(),
    };
    let call = Call::of(&context, &request);
    let pool = service.pool.clone();
    detached(async move {
        once(&pool, &call, async |conn, _operation| {
            let rebuild = begin(&pool, &asked).await?;
            insert(conn, &rebuild).await?;
            Ok(RebuildProjectionsResponse {
                rebuild: Some(contract::rebuild(&rebuild)),
            })
        })
        .await
    })
    .await
}

/// The rebuild, done already if it can be.
async fn begin(pool: &PgPool, asked: &Asked) -> Result<Rebuild, Error> {
    let mut rebuild = Rebuild {
        id: RebuildId::generate(),
        tenant: asked.tenant.clone(),
        wallet: asked.wallet,
        dry_run: asked.dry_run,
        status: RebuildStatus::Pending,
        requested_by: asked.by.clone(),
        cursor: None,
        total: 0,
        counts: Counts::default(),
        created_at: now(),
        started_at: None,
        finished_at: None,
    };
    let Some(wallet) = asked.wallet else {
        return Ok(rebuild);
    };
    require_wallet(pool, &asked.tenant, wallet).await?;
    let mut watch = Watch::until(Instant::now() + CALL_TIME);
    match compare(pool, wallet, mode(asked.dry_run), &mut watch).await {
        Ok(compared) => {
            count(&mut rebuild.counts, &compared);
            rebuild.status = RebuildStatus::Completed;
            rebuild.cursor = Some(wallet);
            rebuild.total = 1;
            rebuild.started_at = Some(rebuild.created_at);
            rebuild.finished_at = Some(now());
            Ok(rebuild)
        }
        Err(Stopped::Told) => Ok(rebuild),
        Err(Stopped::Database(error)) => Err(error.into()),
    }
}

async fn insert(conn: &mut PgConnection, rebuild: &Rebuild) -> Result<(), Error> {
    if rebuilds::insert(conn, rebuild).await? {
        return Ok(());
    }
    // It may have ended since; then the caller simply asks again.
    let under_way = rebuilds::of_all(conn, &rebuild.tenant).await?;
    Err(Error::RebuildInProgress { rebuild: under_way })
}
