//! GetProviderAccount: an account at a provider that the caller may see.

use bursar_aip::id::parse_field;
use bursar_contracts::wallet::v1::{GetProviderAccountRequest, GetProviderAccountResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::provider_accounts::ProviderAccounts;
use super::required_owner;
use crate::error::{Error, ProviderAccountError};
use crate::store::provider_accounts;

pub(super) async fn handle(
    service: &ProviderAccounts,
    request: Request<GetProviderAccountRequest>,
) -> Result<Response<GetProviderAccountResponse>, Status> {
    let context = Context::of(&request)?;
    let id = &request.get_ref().provider_account_id;
    let id = parse_field("provider_account_id", id)?;
    let owner = required_owner(context.reach()?);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = provider_accounts::find(&mut connection, &context.caller.tenant, id, owner)
        .await
        .map_err(Error::from)?
        .ok_or(ProviderAccountError::NotFound)?;
    Ok(Response::new(GetProviderAccountResponse {
        provider_account: Some(service.told(&found)?),
    }))
}
