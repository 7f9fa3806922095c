//! PlaceHold: sets money of a user's wallet aside.

use bursar_contracts::wallet::v1::{PlaceHoldRequest, PlaceHoldResponse};
use bursar_server::{Context, detached, now};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use super::Holds;
use super::hold::Poster;
use super::once::{Call, Operation, once};
use crate::contract::hold::{self, Expiry, Wanted};
use crate::domain::hold_order::{self, Placement};
use crate::error::Error;
use crate::store::holds::HeldMoney;

/// How far off an expiry may be.
const MAX_TTL: Duration = Duration::days(366);

pub(super) async fn handle(
    service: &Holds,
    request: Request<PlaceHoldRequest>,
) -> Result<Response<PlaceHoldResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let call = Call::of(&context, &request);
    let wanted = hold::wanted(request)?;
    let poster = Poster::new(&service.ledger, &context);
    let pool = service.pool.clone();
    detached(async move {
        once(&pool, &call, async |conn, operation| {
            let placed = place(conn, &poster, &wanted, operation).await?;
            Ok(PlaceHoldResponse {
                hold: Some(hold::hold(&placed)),
            })
        })
        .await
    })
    .await
}

async fn place(
    conn: &mut PgConnection,
    poster: &Poster,
    wanted: &Wanted,
    operation: Operation,
) -> Result<HeldMoney, Error> {
    let id = operation.hold();
    // Before the expiry is looked at, which may have passed since the first try.
    if poster.is_posted(conn, operation).await? {
        return poster.find(conn, id).await;
    }
    let placement = Placement {
        hold: id,
        wallet: wanted.wallet,
        amount: wanted.amount,
        currency: wanted.currency,
        expires_at: expires_at(wanted.expiry, now())?,
        description: wanted.description.clone(),
    };
    let posting = hold_order::place(poster.frame(operation), placement);
    match poster.post(&posting).await? {
        Ok(()) => poster.find(conn, id).await,
        Err(rejected) => Err(Error::rejected(&posting, rejected)),
    }
}

/// When a hold that is placed at `now` expires.
fn expires_at(expiry: Expiry, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, Error> {
    let at = match expiry {
        Expiry::Never => return Ok(None),
        Expiry::At(at) => at,
        Expiry::After(duration) => now + duration,
    };
    if at > now && at <= now + MAX_TTL {
        Ok(Some(at))
    } else {
        Err(Error::FieldInvalid {
            field: "expires_at",
            description: "must be in the future, at most 366 days from now",
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// An expiry is later than now and at most 366 days off, to the microsecond.
    #[test]
    fn expiries_are_bounded() {
        let now = datetime!(2026-03-01 12:00 UTC);
        let tick = Duration::microseconds(1);
        assert!(expires_at(Expiry::At(now), now).is_err());
        let soon = now + tick;
        assert_eq!(expires_at(Expiry::At(soon), now).ok(), Some(Some(soon)));
        let last = now + MAX_TTL;
        assert_eq!(expires_at(Expiry::At(last), now).ok(), Some(Some(last)));
        assert!(expires_at(Expiry::At(last + tick), now).is_err());
        let after = expires_at(Expiry::After(Duration::seconds(5)), now);
        assert_eq!(after.ok(), Some(Some(now + Duration::seconds(5))));
        assert_eq!(expires_at(Expiry::Never, now).ok(), Some(None));
    }
}
