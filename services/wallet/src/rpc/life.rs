//! What the RPCs about a wallet's life share: the wallet that is meant, its
//! row lock, and a change with its event.

use bursar_aip::id::{TenantId, UserId, WalletId, parse_field};
use bursar_events::{Event, append_locked};
use bursar_server::{Context, now};
use sqlx::PgConnection;
use tonic::Status;

use super::required_owner;
use crate::contract::event::life::Occasion;
use crate::domain::life::{Changed, Refusal};
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::life;

/// The wallet that a call means, and who calls.
pub(super) struct Target {
    pub(super) tenant: TenantId,
    pub(super) id: WalletId,
    /// The user to whom it must belong, if any.
    owner: Option<UserId>,
    pub(super) actor: String,
}

impl Target {
    /// The wallet with this id, if the caller reaches it.
    pub(super) fn of(context: &Context, wallet_id: &str) -> Result<Self, Status> {
        Ok(Self {
            tenant: context.caller.tenant.clone(),
            id: parse_field("wallet_id", wallet_id)?,
            owner: required_owner(context.reach()?),
            actor: context.caller.actor(),
        })
    }

    /// Locks the wallet's row; it is the only one that such a call locks.
    pub(super) async fn lock(&self, conn: &mut PgConnection) -> Result<Wallet, Error> {
        life::lock(conn, &self.tenant, self.id, self.owner)
            .await?
            .ok_or(Error::WalletNotFound)
    }

    /// Changes the wallet by a rule and writes its event; the wallet after it.
    pub(super) async fn change(
        &self,
        conn: &mut PgConnection,
        rule: impl FnOnce(&Wallet) -> Changed,
        event: impl FnOnce(&Wallet, Occasion) -> Event,
    ) -> Result<Wallet, Error> {
        let before = self.lock(conn).await?;
        let Some(after) = rule(&before).map_err(|refusal| self.refused(refusal, &before))? else {
            return Ok(before);
        };
        life::update(conn, &after).await?;
        append_locked(conn, &[event(&after, self.occasion())]).await?;
        Ok(after)
    }

    /// The call, for its event. The time is taken under the lock.
    pub(super) fn occasion(&self) -> Occasion {
        Occasion {
            actor: self.actor.clone(),
            at: now(),
        }
    }

    /// Why the wallet stays as it is.
    pub(super) fn refused(&self, refusal: Refusal, wallet: &Wallet) -> Error {
        let wallet_id = self.id;
        match refusal {
            Refusal::System => Error::SystemWallet { wallet: wallet_id },
            Refusal::Frozen => Error::WalletFrozen { wallet: wallet_id },
            Refusal::Closed => Error::WalletClosed { wallet: wallet_id },
            Refusal::NotEmpty => Error::WalletNotEmpty { wallet: wallet_id },
            Refusal::CreditInUse => Error::CreditLimitInUse {
                wallet: wallet_id,
                available: wallet.balance.available,
            },
        }
    }
}
