//! What wallets had and what happened to them.

use std::pin::Pin;

use bursar_aip::id::{WalletId, parse_field};
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::history_service_server::HistoryService;
use bursar_server::Context;
use futures::Stream;
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use super::{
    export_statement, get_balance_at, get_statement, list_wallet_days, list_wallet_months,
    required_owner,
};
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::wallets;

/// The history of users' wallets.
///
/// Nothing here opens a transaction. A caller that leaves drops its call
/// wherever it is, and a connection must not go back to the pool in the middle of
/// one; and as what is read never changes, there is no need.
pub(crate) struct Histories {
    /// The database.
    pub(crate) pool: PgPool,
}

impl Histories {
    /// The wallet that a request names, if its caller may read it.
    pub(super) async fn wallet(
        &self,
        context: &Context,
        wallet_id: &str,
    ) -> Result<Wallet, Status> {
        let id: WalletId = parse_field("wallet_id", wallet_id)?;
        let owner = required_owner(context.reach()?);
        let mut connection = self.pool.acquire().await.map_err(Error::from)?;
        let found = wallets::find(&mut connection, &context.caller.tenant, id, owner)
            .await
            .map_err(Error::from)?;
        Ok(found.ok_or(Error::WalletNotFound)?)
    }
}

#[tonic::async_trait]
impl HistoryService for Histories {
    async fn get_balance_at(
        &self,
        request: Request<proto::GetBalanceAtRequest>,
    ) -> Result<Response<proto::GetBalanceAtResponse>, Status> {
        get_balance_at::handle(self, request).await
    }

    async fn get_statement(
        &self,
        request: Request<proto::GetStatementRequest>,
    ) -> Result<Response<proto::GetStatementResponse>, Status> {
        get_statement::handle(self, request).await
    }

    type ExportStatementStream =
        Pin<Box<dyn Stream<Item = Result<proto::ExportStatementResponse, Status>> + Send>>;

    async fn export_statement(
        &self,
        request: Request<proto::ExportStatementRequest>,
    ) -> Result<Response<Self::ExportStatementStream>, Status> {
        export_statement::handle(self, request).await
    }

    async fn list_wallet_days(
        &self,
        request: Request<proto::ListWalletDaysRequest>,
    ) -> Result<Response<proto::ListWalletDaysResponse>, Status> {
        list_wallet_days::handle(self, request).await
    }

    async fn list_wallet_months(
        &self,
        request: Request<proto::ListWalletMonthsRequest>,
    ) -> Result<Response<proto::ListWalletMonthsResponse>, Status> {
        list_wallet_months::handle(self, request).await
    }
}
