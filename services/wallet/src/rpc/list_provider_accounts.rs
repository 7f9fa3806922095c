//! ListProviderAccounts: a wallet's accounts at providers, newest first.

use bursar_aip::id::{ProviderAccountId, parse_field};
use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListProviderAccountsRequest, ListProviderAccountsResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::provider_accounts::ProviderAccounts;
use super::required_owner;
use crate::error::Error;
use crate::store::{provider_accounts, wallets};

/// The list's name in its page tokens.
const LIST: &str = "provider_accounts";

pub(super) async fn handle(
    service: &ProviderAccounts,
    request: Request<ListProviderAccountsRequest>,
) -> Result<Response<ListProviderAccountsResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let wallet = parse_field("wallet_id", &request.wallet_id)?;
    let owner = required_owner(context.reach()?);
    let filter = [request.wallet_id.as_str()];
    let size = page::size(request.page_size);
    let before: Option<ProviderAccountId> =
        page::decode(LIST, &filter, &request.page_token).map_err(Error::from)?;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    wallets::find(&mut connection, &context.caller.tenant, wallet, owner)
        .await
        .map_err(Error::from)?
        .ok_or(Error::WalletNotFound)?;
    // One more than the page, to know whether another page follows.
    let mut found = provider_accounts::list(&mut connection, wallet, before, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &filter, &last.account.id))
        .unwrap_or_default();
    let accounts: Result<Vec<_>, Error> = found.iter().map(|stored| service.told(stored)).collect();
    Ok(Response::new(ListProviderAccountsResponse {
        provider_accounts: accounts?,
        next_page_token,
    }))
}
