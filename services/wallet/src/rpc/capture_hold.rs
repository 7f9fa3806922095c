//! CaptureHold: moves a hold's money, all that remains or a part, to another
//! wallet.

use bursar_contracts::wallet::v1::{CaptureHoldRequest, CaptureHoldResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::Holds;
use super::hold::Poster;
use super::once::{Call, once};
use crate::contract::hold::{self, WantedCapture};
use crate::domain::hold::HoldStatus;
use crate::domain::hold_order::{self, Capture, Frame};
use crate::domain::posting::{Posting, RejectionReason};
use crate::error::Error;
use crate::store::holds::HeldMoney;

pub(super) async fn handle(
    service: &Holds,
    request: Request<CaptureHoldRequest>,
) -> Result<Response<CaptureHoldResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let call = Call::of(&context, &request);
    let wanted = hold::wanted_capture(&request, &context.caller.tenant)?;
    let poster = Poster::new(&service.ledger, &context);
    let pool = service.pool.clone();
    detached(async move {
        once(&pool, &call, async |conn, operation| {
            let frame = poster.frame(operation);
            let make = |held: &HeldMoney| posting(frame.clone(), held, &wanted);
            let after = poster.change(conn, operation, wanted.hold, make).await?;
            Ok(CaptureHoldResponse {
                hold: Some(hold::hold(&after)),
            })
        })
        .await
    })
    .await
}

/// The capture of a hold as it stands.
fn posting(frame: Frame, held: &HeldMoney, wanted: &WantedCapture) -> Result<Posting, Error> {
    if wanted.to.wallet_id() == held.hold.wallet {
        return Err(Error::FieldInvalid {
            field: "to_wallet_id",
            description: "must be another wallet than the hold's",
        });
    }
    if held.hold.status == HoldStatus::Expired {
        return Err(Error::Rejected {
            reason: RejectionReason::HoldExpired,
            wallet: Some(held.hold.wallet),
        });
    }
    let (amount, currency) = match wanted.amount {
        Some((amount, currency)) => (Some(amount), currency),
        None => (None, held.currency),
    };
    if currency != held.currency {
        return Err(Error::Rejected {
            reason: RejectionReason::CurrencyMismatch,
            wallet: Some(held.hold.wallet),
        });
    }
    let capture = Capture {
        amount,
        is_final: wanted.is_final,
        to: wanted.to.clone(),
        currency,
    };
    hold_order::capture(frame, &held.hold, &capture).map_err(|exceeds| Error::CaptureExceedsHold {
        remaining: exceeds.remaining,
    })
}
