//! A look at a wallet in the ledger, before anything is recorded.
//!
//! What is seen may change at any moment, so it decides nothing about money: the ledger
//! does, when it posts. It spares a call that can go nowhere its record, and says whose a
//! wallet is, which never changes.

use std::time::{Duration, Instant};

use bursar_aip::id::{UserId, WalletId};
use bursar_money::Currency;
use bursar_server::crash_point;

use crate::domain::{Refusal, RefusalReason, Side};
use crate::error::Error;
use crate::ledger::{Ledger, WalletSummary};

/// Left of a call's time for the database, where nothing else comes after the look.
const MARGIN: Duration = Duration::from_millis(500);

/// Until when a look may take, so that half of the time is left for what comes after.
pub(super) fn half_way_to(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

/// The same where only the database comes after.
pub(super) fn shortly_before(deadline: Instant) -> Instant {
    deadline.checked_sub(MARGIN).unwrap_or(deadline)
}

/// What the ledger says of a wallet; `None` when it knows none of that id.
pub(super) async fn look(
    ledger: &Ledger,
    wallet: WalletId,
    until: Instant,
) -> Result<Option<WalletSummary>, Error> {
    crash_point!("rpc.before_wallet_look");
    let looked = ledger.wallet(wallet, until).await;
    crash_point!("rpc.after_wallet_look");
    looked.map_err(|status| {
        tracing::warn!(code = ?status.code(), "the ledger does not say what a wallet is");
        Error::LedgerUnavailable { transaction: None }
    })
}

/// What a wallet must be to take part in a movement.
pub(super) struct Part {
    pub(super) wallet: WalletId,
    pub(super) side: Side,
    /// Whose it must be; anybody's when absent.
    pub(super) owner: Option<UserId>,
    pub(super) currency: Currency,
}

impl Part {
    /// Refuses a wallet that could not take part now: it is nobody's, or not the owner's,
    /// has another currency or is closed. A frozen wallet may receive; whether it may pay
    /// is the ledger's to say.
    pub(super) async fn check(&self, ledger: &Ledger, until: Instant) -> Result<(), Error> {
        let reason = match look(ledger, self.wallet, until).await? {
            Some(wallet) if self.owner.is_some() && wallet.owner != self.owner => {
                RefusalReason::WalletNotFound
            }
            Some(wallet) if wallet.currency_code != self.currency.code() => {
                RefusalReason::CurrencyMismatch
            }
            Some(wallet) if wallet.is_closed => RefusalReason::WalletClosed,
            Some(_) => return Ok(()),
            None => RefusalReason::WalletNotFound,
        };
        let side = self.side;
        Err(Error::Refused(Refusal { reason, side }))
    }
}
