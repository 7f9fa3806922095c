//! The service for payout accounts.

mod create;
mod reads;

use bursar_aip::id::PayoutAccountId;
use bursar_contracts::transaction::v1::payout_account_service_server::PayoutAccountService;
use bursar_contracts::transaction::v1::{
    CreatePayoutAccountRequest, CreatePayoutAccountResponse, DeletePayoutAccountRequest,
    DeletePayoutAccountResponse, GetPayoutAccountRequest, GetPayoutAccountResponse,
    ListPayoutAccountsRequest, ListPayoutAccountsResponse,
};
use bursar_server::{Context, database, detached, now};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use crate::advance::Engine;
use crate::payout::{PayoutError, event};
use crate::store::payout_accounts::{self, SealedAccount};

/// The service's handlers.
pub(crate) struct PayoutAccountRpc {
    engine: Engine,
}

impl PayoutAccountRpc {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl PayoutAccountService for PayoutAccountRpc {
    async fn create_payout_account(
        &self,
        request: Request<CreatePayoutAccountRequest>,
    ) -> Result<Response<CreatePayoutAccountResponse>, Status> {
        create::handle(&self.engine, request).await
    }

    async fn list_payout_accounts(
        &self,
        request: Request<ListPayoutAccountsRequest>,
    ) -> Result<Response<ListPayoutAccountsResponse>, Status> {
        reads::list(&self.engine, request).await
    }

    async fn get_payout_account(
        &self,
        request: Request<GetPayoutAccountRequest>,
    ) -> Result<Response<GetPayoutAccountResponse>, Status> {
        reads::get(&self.engine, request).await
    }

    async fn delete_payout_account(
        &self,
        request: Request<DeletePayoutAccountRequest>,
    ) -> Result<Response<DeletePayoutAccountResponse>, Status> {
        let context = Context::of(&request)?;
        let id = reads::id(&request.into_inner().payout_account_id)?;
        let engine = self.engine.clone();
        detached(async move {
            let mut database = database::begin(&engine.pool)
                .await
                .map_err(PayoutError::from)?;
            let sealed = archived(&mut database, &context, id).await?;
            let account = engine.payout_accounts.open(sealed)?;
            database.commit().await.map_err(PayoutError::from)?;
            Ok(Response::new(DeletePayoutAccountResponse {
                payout_account: Some(account.message()),
            }))
        })
        .await
    }
}

/// Archives an account of the caller's, and tells of it; one that is archived stays as it
/// is.
async fn archived(
    conn: &mut PgConnection,
    context: &Context,
    id: PayoutAccountId,
) -> Result<SealedAccount, Status> {
    let mut account = reads::visible(conn, context, id).await?;
    let at = now();
    let is_changed = payout_accounts::archive(conn, id, at)
        .await
        .map_err(PayoutError::from)?;
    if !is_changed {
        // Perhaps by another call since it was read.
        return reads::visible(conn, context, id).await;
    }
    let told = event::archived(&account, at, context.caller.actor());
    bursar_events::append(conn, &[told])
        .await
        .map_err(PayoutError::from)?;
    account.archived_at = Some(at);
    Ok(account)
}
