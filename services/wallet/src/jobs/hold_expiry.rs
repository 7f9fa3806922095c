//! Gives back the money of holds whose time is over.
//!
//! The ledger refuses to capture a hold from its expiry on, whether or not this
//! job has come to it; the job only gives the money back. Each expiry is a
//! posting whose id follows from the hold's, so replicas may all do it, and a
//! round that was cut off may be done again: a hold expires once. A capture or a
//! void that is quicker ends the hold, and the expiry is refused.
//!
//! A round goes through all that is due, a page at a time, so a hold that cannot
//! be given back holds no other one up; it is logged, and tried again in the
//! next round. Rounds come at the next expiry, and at the interval at the
//! latest, since holds are placed meanwhile.

use std::time::{Duration, Instant};

use bursar_aip::id::HoldId;
use bursar_server::{crash_point, now};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::{Uuid, uuid};

use super::queue::{Ledger, Order};
use crate::domain::batch::{Mode, Outcome};
use crate::domain::hold_order::{self, Frame};
use crate::domain::posting::{Fingerprint, Posting, PostingId, RejectionReason};
use crate::error::Error;
use crate::store::holds::{self, HeldMoney};

/// The namespace of the expiries' operation ids. They are stored, so it never
/// changes.
const EXPIRIES: Uuid = uuid!("0c4f7d0a-3a58-4a0e-8f55-8b1de2d2a6a4");
/// How many holds are posted together, so that other calls find room between.
const PAGE: i64 = 100;
/// How long a page may wait for the ledger.
const POSTING_TIMEOUT: Duration = Duration::from_secs(10);
/// The least time between two rounds, so that a hold that cannot be given back
/// does not keep the job busy.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// Who expires holds, for the events.
const ACTOR: &str = "service:wallet";

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The ledger could not take the expiries.
    #[error(transparent)]
    Ledger(#[from] Error),
}

/// Expires holds until `shutdown`, at least every `interval`.
pub async fn run(
    pool: PgPool,
    ledger: Ledger,
    interval: Duration,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    while !shutdown.is_cancelled() {
        let pause = match round(&pool, &ledger, &shutdown).await {
            Ok(next) => pause(next, now(), interval),
            Err(error) => {
                tracing::warn!(%error, "holds whose time is over wait for the next round");
                interval
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// Expires all that is due now; when the next hold will be, if any.
pub async fn round(
    pool: &PgPool,
    ledger: &Ledger,
    shutdown: &CancellationToken,
) -> Result<Option<OffsetDateTime>, Failure> {
    let until = now();
    let mut after = None;
    while !shutdown.is_cancelled() {
        let mut connection = pool.acquire().await?;
        let due = holds::due(&mut connection, until, after, PAGE).await?;
        drop(connection);
        let Some(last) = due.last() else {
            break;
        };
        after = last.hold.expires_at.map(|at| (at, last.hold.id));
        expire(ledger, &due).await?;
    }
    let mut connection = pool.acquire().await?;
    Ok(holds::next_expiry(&mut connection, until).await?)
}

/// How long to wait for the next round.
fn pause(next: Option<OffsetDateTime>, now: OffsetDateTime, interval: Duration) -> Duration {
    let until_next = next.map(|next| Duration::try_from(next - now).unwrap_or_default());
    until_next.map_or(interval, |wait| {
        wait.clamp(MIN_PAUSE.min(interval), interval)
    })
}

/// Posts the expiries of a page.
async fn expire(ledger: &Ledger, due: &[HeldMoney]) -> Result<(), Error> {
    let postings: Vec<Posting> = due.iter().map(expiry).collect();
    let order = Order {
        postings,
        mode: Mode::Independent,
        actor: ACTOR.to_owned(),
        deadline: Instant::now() + POSTING_TIMEOUT,
    };
    crash_point!("hold_expiry.before_post");
    let outcomes = ledger.post(order).await?;
    crash_point!("hold_expiry.after_post");
    let mut expired = 0;
    for (held, outcome) in due.iter().zip(outcomes) {
        match outcome {
            Outcome::Applied(_) => expired += 1,
            // Another replica was quicker, or somebody captured or voided it.
            Outcome::Replayed(_) => {}
            Outcome::Rejected(rejected) => match rejected.reason {
                RejectionReason::HoldNotActive | RejectionReason::HoldMismatch => {}
                reason => {
                    let hold = held.hold.id;
                    tracing::error!(%hold, ?reason, "a hold whose time is over cannot be given back");
                }
            },
        }
    }
    metrics::counter!("bursar_holds_expired_total").increment(expired);
    Ok(())
}

/// The posting that expires a hold. Its fingerprint is of the hold alone, not of
/// what remains: the expiry of a hold is the same one whenever it is posted.
fn expiry(held: &HeldMoney) -> Posting {
    let mut fingerprint = Fingerprint::default();
    fingerprint[..16].copy_from_slice(held.hold.id.uuid().as_bytes());
    let frame = Frame {
        id: expiry_id(held.hold.id),
        tenant: held.tenant.clone(),
        fingerprint,
    };
    hold_order::expire(frame, &held.hold, held.currency)
}

/// The operation id of a hold's expiry.
fn expiry_id(hold: HoldId) -> PostingId {
    PostingId::from_uuid(Uuid::new_v5(&EXPIRIES, hold.uuid().as_bytes()))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// Expiries' ids are stored, so they may never change.
    #[test]
    fn expiry_ids_are_stable() {
        let id = expiry_id(HoldId::from_uuid(Uuid::nil()));
        assert_eq!(id.to_string(), "2f62beca-4110-500d-8b95-446ac7bc7a7f");
    }

    /// The next round is at the next expiry, within the interval, and never at once.
    #[test]
    fn rounds_come_when_they_are_due() {
        let now = datetime!(2026-03-01 12:00 UTC);
        let interval = Duration::from_secs(2);
        assert_eq!(pause(None, now, interval), interval);
        let at = |millis| Some(now + time::Duration::milliseconds(millis));
        assert_eq!(pause(at(700), now, interval), Duration::from_millis(700));
        assert_eq!(pause(at(60_000), now, interval), interval);
        assert_eq!(pause(at(-5), now, interval), MIN_PAUSE);
        let short = Duration::from_millis(10);
        assert_eq!(pause(at(-5), now, short), short);
    }
}
