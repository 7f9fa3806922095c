//! What the RPCs about holds share: finding a hold, and posting for it as it is.

use std::time::Instant;

use bursar_aip::id::{HoldId, TenantId};
use bursar_server::Context;
use sqlx::PgConnection;

use super::once::Operation;
use crate::domain::batch::{Mode, Outcome};
use crate::domain::hold::HoldStatus;
use crate::domain::hold_order::Frame;
use crate::domain::posting::{Posting, Rejected, RejectionReason};
use crate::error::Error;
use crate::jobs::queue::{Ledger, Order};
use crate::store::holds::{self, HeldMoney};
use crate::store::ledger;

/// How often a posting is made anew because the hold has changed meanwhile.
/// Each time another call has captured a part of it or ended it.
const MAX_TRIES: usize = 16;

/// One operation on holds: who asks, and the way into the ledger.
pub(super) struct Poster {
    ledger: Ledger,
    tenant: TenantId,
    actor: String,
    deadline: Instant,
}

impl Poster {
    /// The operation of a call.
    pub(super) fn new(ledger: &Ledger, context: &Context) -> Self {
        Self {
            ledger: ledger.clone(),
            tenant: context.caller.tenant.clone(),
            actor: context.caller.actor(),
            deadline: context.deadline,
        }
    }

    /// What the operation's posting is besides its money.
    pub(super) fn frame(&self, operation: Operation) -> Frame {
        Frame {
            id: operation.posting(),
            tenant: self.tenant.clone(),
            fingerprint: operation.fingerprint,
        }
    }

    /// Posts; whether it was done now or before is the same.
    pub(super) async fn post(&self, posting: &Posting) -> Result<Result<(), Rejected>, Error> {
        let order = Order {
            postings: vec![posting.clone()],
            mode: Mode::Independent,
            actor: self.actor.clone(),
            deadline: self.deadline,
        };
        match self.ledger.post(order).await?.pop() {
            Some(Outcome::Applied(_) | Outcome::Replayed(_)) => Ok(Ok(())),
            Some(Outcome::Rejected(rejected)) => Ok(Err(rejected)),
            None => unreachable!("the ledger answers every posting"),
        }
    }

    /// The hold with this id.
    pub(super) async fn find(
        &self,
        conn: &mut PgConnection,
        id: HoldId,
    ) -> Result<HeldMoney, Error> {
        holds::find(conn, &self.tenant, id, None)
            .await?
            .ok_or(Error::HoldNotFound)
    }

    /// Whether the operation's posting is in the ledger: its first try was cut
    /// off before it could answer. Another request's posting is an error.
    pub(super) async fn is_posted(
        &self,
        conn: &mut PgConnection,
        operation: Operation,
    ) -> Result<bool, Error> {
        let ids = [operation.posting().uuid()];
        match ledger::recorded(conn, &ids).await?.pop() {
            None => Ok(false),
            Some(recorded)
                if recorded.fingerprint == operation.fingerprint
                    && recorded.tenant == self.tenant =>
            {
                Ok(true)
            }
            Some(_) => Err(Error::KeyReused),
        }
    }

    /// Changes a hold by the posting that `make` makes for it as it stands, and
    /// gives the hold after it. Made anew for as long as others are quicker.
    pub(super) async fn change(
        &self,
        conn: &mut PgConnection,
        operation: Operation,
        id: HoldId,
        make: impl Fn(&HeldMoney) -> Result<Posting, Error>,
    ) -> Result<HeldMoney, Error> {
        for _ in 0..MAX_TRIES {
            let held = self.find(conn, id).await?;
            // Looked for after reading the hold: what the posting has done to
            // the hold that was read, it shows.
            if self.is_posted(conn, operation).await? {
                return self.find(conn, id).await;
            }
            check_changeable(&held)?;
            let posting = make(&held)?;
            match self.post(&posting).await? {
                Ok(()) => return self.find(conn, id).await,
                Err(rejected) if rejected.reason == RejectionReason::HoldMismatch => {}
                Err(rejected) => return Err(Error::rejected(&posting, rejected)),
            }
        }
        Err(Error::HoldContended)
    }
}

/// Refuses what a hold that was read will never allow again. All else is for
/// the ledger to decide.
fn check_changeable(held: &HeldMoney) -> Result<(), Error> {
    let reason = match held.hold.status {
        _ if held.hold.transaction.is_some() => RejectionReason::HoldManaged,
        // What becomes of an expired one depends on what is done to it.
        HoldStatus::Active | HoldStatus::Expired => return Ok(()),
        HoldStatus::Captured | HoldStatus::Voided => RejectionReason::HoldNotActive,
    };
    Err(Error::Rejected {
        reason,
        wallet: Some(held.hold.wallet),
    })
}
