//! Opens a user's first wallet when identity tells that the user registered.
//!
//! The wallet's id follows from the user's, and an insert that meets it does
//! nothing, so the event may come as often as it likes, and wallets that the
//! user opened meanwhile do not matter.

use bursar_aip::id::{TenantId, UserId};
use bursar_contracts::identity::v1::UserRegistered;
use bursar_events::consumer::{Consumer, Kinds};
use bursar_events::{HandlerError, Received, append_locked};
use bursar_money::Currency;
use bursar_server::{Start, now};
use sqlx::PgConnection;

use crate::contract::event;
use crate::domain::wallet::{Wallet, first_wallet_id};
use crate::store::wallets;

/// The name under which the events that were handled are remembered.
const GROUP: &str = "wallet";
const SOURCE: &str = "bursar.identity";
const REGISTERED: &str = "identity.user.registered";

/// Consumes identity's events until the service ends.
pub async fn run(start: Start, currency: Currency) -> anyhow::Result<()> {
    let redis = start.redis()?;
    let mut consumer = Consumer::new(GROUP, vec![SOURCE], Kinds::Only(vec![REGISTERED]));
    consumer.stream_prefix = start.config.events_stream_prefix.clone();
    consumer
        .run(
            start.pool.clone(),
            redis,
            move |conn, event| Box::pin(handle(conn, event, currency)),
            start.shutdown.clone(),
        )
        .await;
    Ok(())
}

/// Opens the wallet in the transaction of the inbox. Poison: an event that
/// names no user.
pub async fn handle(
    conn: &mut PgConnection,
    event: &Received,
    currency: Currency,
) -> Result<(), HandlerError> {
    let registered: UserRegistered = event.decode()?;
    let owner: UserId = registered.user_id.parse().map_err(HandlerError::poison)?;
    let tenant: TenantId = event.tenant.parse().map_err(HandlerError::poison)?;
    let wallet = Wallet::open(first_wallet_id(owner), tenant, owner, currency, now());
    if wallets::insert(conn, &wallet).await? {
        append_locked(conn, &[event::created(&wallet, event.actor.clone())]).await?;
    }
    Ok(())
}
