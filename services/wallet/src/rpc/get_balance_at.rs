//! GetBalanceAt: a wallet's money at an instant.

use bursar_contracts::wallet::v1::{GetBalanceAtRequest, GetBalanceAtResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::history_service::Histories;
use crate::contract::{history as contract, timestamp};
use crate::domain::history::{Position, TimeBasis};
use crate::error::Error;
use crate::store::history;

pub(super) async fn handle(
    service: &Histories,
    request: Request<GetBalanceAtRequest>,
) -> Result<Response<GetBalanceAtResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let basis = contract::basis(request.basis());
    let at = contract::required_instant(request.at.as_ref(), "at")?;
    let wallet = service.wallet(&context, &request.wallet_id).await?;
    let position = Position::after(at);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let balance = history::balance(&mut connection, wallet.id, wallet.version, basis, position)
        .await
        .map_err(Error::from)?;
    let version = match basis {
        TimeBasis::Effective => wallet.version,
        TimeBasis::Recorded => {
            history::version(&mut connection, wallet.id, wallet.version, position)
                .await
                .map_err(Error::from)?
        }
    };
    Ok(Response::new(GetBalanceAtResponse {
        wallet_id: wallet.id.to_string(),
        currency_code: wallet.currency.code().to_owned(),
        at: Some(timestamp(at)),
        basis: contract::proto_basis(basis).into(),
        balance: Some(contract::balance(balance)),
        version,
    }))
}
