//! GetTrialBalance: whether the books balance, currency by currency.

use bursar_contracts::wallet::v1::{GetTrialBalanceRequest, GetTrialBalanceResponse};
use bursar_server::{Context, now};
use tonic::{Request, Response, Status};

use super::projection_service::Projections;
use crate::contract::{posting, projection as contract, timestamp};
use crate::domain::trial_balance::by_currency;
use crate::error::Error;
use crate::store::trial_balance;

pub(super) async fn handle(
    service: &Projections,
    request: Request<GetTrialBalanceRequest>,
) -> Result<Response<GetTrialBalanceResponse>, Status> {
    let context = Context::of(&request)?;
    let code = &request.get_ref().currency_code;
    let only = match code.as_str() {
        "" => None,
        code => Some(posting::currency(code, "currency_code".to_owned())?),
    };
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let read_at = now();
    let classes = trial_balance::classes(&mut connection, &context.caller.tenant, only)
        .await
        .map_err(Error::from)?;
    let balances = by_currency(classes);
    for (currency, balance) in &balances {
        if !balance.is_balanced() {
            tracing::error!(%currency, "the trial balance does not balance; verify the ledger");
        }
    }
    let in_order = balances.iter();
    Ok(Response::new(GetTrialBalanceResponse {
        trial_balances: in_order
            .map(|(currency, balance)| contract::trial_balance(currency, balance))
            .collect(),
        read_at: Some(timestamp(read_at)),
    }))
}
