//! `GetPayoutAccount` and `ListPayoutAccounts`.

use bursar_aip::id::PayoutAccountId;
use bursar_aip::page;
use bursar_auth::Reach;
use bursar_contracts::transaction::v1::{
    GetPayoutAccountRequest, GetPayoutAccountResponse, ListPayoutAccountsRequest,
    ListPayoutAccountsResponse,
};
use bursar_server::Context;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use crate::advance::Engine;
use crate::error::Error;
use crate::payout::PayoutError;
use crate::store::payout_accounts::{self, SealedAccount};

/// The name of the list in page tokens.
const LIST: &str = "payout-accounts";

pub(super) async fn get(
    engine: &Engine,
    request: Request<GetPayoutAccountRequest>,
) -> Result<Response<GetPayoutAccountResponse>, Status> {
    let context = Context::of(&request)?;
    let id = id(&request.into_inner().payout_account_id)?;
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let sealed = visible(&mut conn, &context, id).await?;
    let account = engine.payout_accounts.open(sealed)?;
    Ok(Response::new(GetPayoutAccountResponse {
        payout_account: Some(account.message()),
    }))
}

pub(super) async fn list(
    engine: &Engine,
    request: Request<ListPayoutAccountsRequest>,
) -> Result<Response<ListPayoutAccountsResponse>, Status> {
    let context = Context::of(&request)?;
    let user = match context.reach()? {
        Reach::Any => None,
        Reach::Own(user) => Some(user),
    };
    let message = request.into_inner();
    // A page token is good for the list that it came from, and for no other user's.
    let whose = user.map_or_else(|| "any".to_owned(), |user| user.to_string());
    let filter = [whose.as_str()];
    let before: Option<PayoutAccountId> = page::decode(LIST, &filter, &message.page_token)?;
    let size = page::size(message.page_size);

    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let tenant = &context.caller.tenant;
    // One more than asked for tells whether there is a next page.
    let mut rows = payout_accounts::list(&mut conn, tenant, user, before, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut rows, size)
        .map(|last| page::encode(LIST, &filter, &last.id))
        .unwrap_or_default();
    let accounts = rows.into_iter().map(|row| {
        let account = engine.payout_accounts.open(row)?;
        Ok(account.message())
    });
    Ok(Response::new(ListPayoutAccountsResponse {
        payout_accounts: accounts.collect::<Result<_, PayoutError>>()?,
        next_page_token,
    }))
}

pub(super) fn id(text: &str) -> Result<PayoutAccountId, Error> {
    text.parse().map_err(|_| Error::FieldInvalid {
        field: "payout_account_id",
    })
}

/// An account that the caller may see, their own or anybody's, still sealed.
pub(super) async fn visible(
    conn: &mut PgConnection,
    context: &Context,
    id: PayoutAccountId,
) -> Result<SealedAccount, Status> {
    let reach = context.reach()?;
    let found = payout_accounts::find(conn, id).await.map_err(Error::from)?;
    let seen = found
        .filter(|account| account.tenant == context.caller.tenant)
        .filter(|account| match reach {
            Reach::Any => true,
            Reach::Own(user) => account.user == user,
        });
    Ok(seen.ok_or(PayoutError::NotFound)?)
}
