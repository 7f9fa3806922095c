//! CreateWallet: opens a wallet for the calling user.

use bursar_aip::id::{TenantId, UserId, WalletId};
use bursar_aip::idempotency::{self, Answer, Claim, Key, Scope};
use bursar_contracts::wallet::v1::{CreateWalletRequest, CreateWalletResponse};
use bursar_events::append;
use bursar_money::Currency;
use bursar_server::{Context, database, detached, now};
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use super::Wallets;
use crate::contract::{event, posting, wallet};
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::wallets;

/// What is to be opened, and for whom.
struct Opening {
    tenant: TenantId,
    owner: UserId,
    currency: Currency,
    actor: String,
    max_per_user: u32,
}

/// The caller's idempotency key, with what it is bound to.
struct Keyed {
    key: Key,
    principal: String,
    method: &'static str,
    fingerprint: [u8; 32],
}

pub(super) async fn handle(
    service: &Wallets,
    request: Request<CreateWalletRequest>,
) -> Result<Response<CreateWalletResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let opening = Opening {
        tenant: context.caller.tenant.clone(),
        owner: context.user_id()?,
        currency: posting::currency(&request.currency_code, "currency_code".to_owned())?,
        actor: context.caller.actor(),
        max_per_user: service.max_per_user,
    };
    let keyed = context.idempotency_key.map(|key| Keyed {
        key,
        principal: context.caller.principal(),
        method: context.method,
        fingerprint: idempotency::fingerprint(&request),
    });
    let pool = service.pool.clone();
    detached(async move {
        match keyed {
            Some(keyed) => open_once(&pool, &opening, &keyed).await,
            None => open(&pool, &opening).await,
        }
    })
    .await
}

/// Opens a wallet without an idempotency key.
async fn open(pool: &PgPool, opening: &Opening) -> Result<Response<CreateWalletResponse>, Status> {
    let mut transaction = database::begin(pool).await.map_err(Error::from)?;
    let wallet = insert(&mut transaction, opening).await?;
    transaction.commit().await.map_err(Error::from)?;
    Ok(Response::new(response(&wallet)))
}

/// Opens a wallet unless its key was used before; then the first answer is
/// given again, a refusal for too many wallets included.
async fn open_once(
    pool: &PgPool,
    opening: &Opening,
    keyed: &Keyed,
) -> Result<Response<CreateWalletResponse>, Status> {
    let scope = Scope {
        tenant: &opening.tenant,
        principal: &keyed.principal,
        method: keyed.method,
        key: &keyed.key,
    };
    let mut transaction = database::begin(pool).await.map_err(Error::from)?;
    let claim = idempotency::claim(&mut transaction, &scope, keyed.fingerprint, None, now())
        .await
        .map_err(Error::from)?;
    match claim {
        Claim::Claimed => {}
        Claim::Replay(answer) => return answer.into_result(),
        Claim::Reused => return Err(Error::KeyReused.into()),
        Claim::InUse { .. } => return Err(Error::KeyInUse.into()),
    }
    let result = match insert(&mut transaction, opening).await {
        Ok(wallet) => Ok(response(&wallet)),
        Err(refusal @ Error::WalletLimitReached { .. }) => Err(Status::from(refusal)),
        // Whatever else goes wrong may go right the next time.
        Err(failure) => return Err(failure.into()),
    };
    let answer = match &result {
        Ok(response) => Answer::response(response),
        Err(status) => Answer::error(status),
    };
    idempotency::complete(&mut transaction, &scope, &answer)
        .await
        .map_err(Error::from)?;
    transaction.commit().await.map_err(Error::from)?;
    result.map(Response::new)
}

/// Inserts the wallet and its event. The lock on the owner makes counting and
/// inserting one step; it is the only lock, so nothing waits in a circle.
async fn insert(conn: &mut PgConnection, opening: &Opening) -> Result<Wallet, Error> {
    let Opening { tenant, owner, .. } = opening;
    let limit = opening.max_per_user;
    wallets::lock_owner(conn, tenant, *owner).await?;
    if wallets::count(conn, tenant, *owner, i64::from(limit)).await? >= i64::from(limit) {
        return Err(Error::WalletLimitReached { limit });
    }
    let wallet = Wallet::open(
        WalletId::generate(),
        tenant.clone(),
        *owner,
        opening.currency,
        now(),
    );
    if !wallets::insert(conn, &wallet).await? {
        // A generated id that exists already is a fault of ours.
        return Err(Error::Database(sqlx::Error::RowNotFound));
    }
    append(conn, &[event::created(&wallet, opening.actor.clone())]).await?;
    Ok(wallet)
}

fn response(opened: &Wallet) -> CreateWalletResponse {
    CreateWalletResponse {
        wallet: Some(wallet::wallet(opened)),
    }
}
