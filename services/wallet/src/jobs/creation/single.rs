//! Opens one wallet in a transaction of its own.

use bursar_aip::id::WalletId;
use bursar_aip::idempotency::{self, Answer, Claim};
use bursar_events::append_locked;
use bursar_server::{crash_point, database, now};
use sqlx::{PgConnection, PgPool};
use tonic::{Response, Status};

use super::{Opening, Reply, response};
use crate::contract::event;
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::wallets;

/// Opens a wallet unless the call's key was used before; then the first answer
/// is given again, a refusal for too many wallets included.
pub(super) async fn open(pool: &PgPool, opening: &Opening, max_per_user: u32) -> Reply {
    let mut transaction = database::begin(pool).await.map_err(Error::from)?;
    let owner = (opening.tenant.clone(), opening.owner);
    wallets::lock_owners(&mut transaction, std::slice::from_ref(&owner))
        .await
        .map_err(Error::from)?;
    let Some((scope, keyed)) = opening.scope().zip(opening.keyed.as_ref()) else {
        let wallet = insert(&mut transaction, opening, max_per_user).await?;
        crash_point!("creation.before_unkeyed_commit");
        transaction.commit().await.map_err(Error::from)?;
        crash_point!("creation.after_unkeyed_commit");
        return Ok(Response::new(response(&wallet)));
    };
    let claim = idempotency::claim(&mut transaction, &scope, keyed.fingerprint, None, now())
        .await
        .map_err(Error::from)?;
    match claim {
        Claim::Claimed => {}
        Claim::Replay(answer) => return answer.into_result(),
        Claim::Reused => return Err(Error::KeyReused.into()),
        Claim::InUse { .. } => return Err(Error::KeyInUse.into()),
    }
    let result = match insert(&mut transaction, opening, max_per_user).await {
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
    crash_point!("creation.before_keyed_commit");
    transaction.commit().await.map_err(Error::from)?;
    crash_point!("creation.after_keyed_commit");
    result.map(Response::new)
}

/// Inserts the wallet and its event. The owner is locked, so counting and
/// inserting are one step.
async fn insert(
    conn: &mut PgConnection,
    opening: &Opening,
    max_per_user: u32,
) -> Result<Wallet, Error> {
    let owner = (opening.tenant.clone(), opening.owner);
    let limit = i64::from(max_per_user);
    let counts = wallets::counts(conn, std::slice::from_ref(&owner), limit).await?;
    if counts.get(&owner).is_some_and(|&count| count >= limit) {
        return Err(Error::WalletLimitReached {
            limit: max_per_user,
        });
    }
    let wallet = Wallet::open(
        WalletId::generate(),
        opening.tenant.clone(),
        opening.owner,
        opening.currency,
        now(),
    );
    wallets::insert_many(conn, &[&wallet]).await?;
    append_locked(conn, &[event::created(&wallet, opening.actor.clone())]).await?;
    Ok(wallet)
}
