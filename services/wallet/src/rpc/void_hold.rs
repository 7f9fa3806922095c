//! VoidHold: gives all that remains of a hold back.

use bursar_aip::id::{HoldId, parse_field};
use bursar_contracts::wallet::v1::{VoidHoldRequest, VoidHoldResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::Holds;
use super::hold::Poster;
use super::once::{Call, once};
use crate::contract::hold;
use crate::domain::hold_order;
use crate::store::holds::HeldMoney;

pub(super) async fn handle(
    service: &Holds,
    request: Request<VoidHoldRequest>,
) -> Result<Response<VoidHoldResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let call = Call::of(&context, &request);
    let id: HoldId = parse_field("hold_id", &request.hold_id)?;
    let poster = Poster::new(&service.ledger, &context);
    let pool = service.pool.clone();
    detached(async move {
        once(&pool, &call, async |conn, operation| {
            let frame = poster.frame(operation);
            let make =
                |held: &HeldMoney| Ok(hold_order::void(frame.clone(), &held.hold, held.currency));
            let after = poster.change(conn, operation, id, make).await?;
            Ok(VoidHoldResponse {
                hold: Some(hold::hold(&after)),
            })
        })
        .await
    })
    .await
}
