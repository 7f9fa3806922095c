//! The RPCs, a file each. A handler translates, decides nothing about money,
//! and opens and commits its own transaction; the caller, the permission, the
//! deadline and the shape of the request were settled before it runs.

mod batch_get_wallets;
mod bonus;
mod capture_hold;
mod close_wallet;
mod create_provider_account;
mod create_wallet;
mod detect_drift;
mod export_statement;
mod freeze_wallet;
mod get_balance_at;
mod get_hold;
mod get_provider_account;
mod get_rebuild;
mod get_spending_limits;
mod get_statement;
mod get_trial_balance;
mod get_wallet;
mod history_service;
mod hold;
mod hold_service;
mod life;
mod list_entries;
mod list_holds;
mod list_provider_accounts;
mod list_rebuilds;
mod list_wallet_days;
mod list_wallet_months;
mod list_wallets;
pub(crate) mod once;
mod place_hold;
mod post_batch;
mod projection_service;
mod proof;
mod provider_accounts;
mod rebuild_projections;
mod set_credit_limit;
mod set_spending_limits;
mod statement;
mod statement_file;
mod unfreeze_wallet;
mod void_hold;

use bursar_aip::id::UserId;
use bursar_auth::Reach;
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::ledger_service_server::LedgerService;
use bursar_contracts::wallet::v1::wallet_service_server::WalletService;
use bursar_server::Reads;
use sqlx::PgPool;
use tonic::{Request, Response, Status};

pub(crate) use self::history_service::Histories;
pub(crate) use self::hold_service::Holds;
pub(crate) use self::projection_service::Projections;
pub(crate) use self::provider_accounts::ProviderAccounts;
use crate::cache::WalletCache;
use crate::jobs::creation::Openings;
use crate::jobs::queue::Ledger;

pub(crate) use bonus::Bonus;
pub(crate) use proof::Proofs;

/// Users' wallets.
pub(crate) struct Wallets {
    /// The database.
    pub(crate) pool: PgPool,
    /// Where lists are read from.
    pub(crate) reads: Reads,
    /// Wallets for display.
    pub(crate) cache: WalletCache,
    /// The way to the writer that opens wallets.
    pub(crate) openings: Openings,
}

#[tonic::async_trait]
impl WalletService for Wallets {
    async fn create_wallet(
        &self,
        request: Request<proto::CreateWalletRequest>,
    ) -> Result<Response<proto::CreateWalletResponse>, Status> {
        create_wallet::handle(self, request).await
    }

    async fn get_wallet(
        &self,
        request: Request<proto::GetWalletRequest>,
    ) -> Result<Response<proto::GetWalletResponse>, Status> {
        get_wallet::handle(self, request).await
    }

    async fn list_wallets(
        &self,
        request: Request<proto::ListWalletsRequest>,
    ) -> Result<Response<proto::ListWalletsResponse>, Status> {
        list_wallets::handle(self, request).await
    }

    async fn list_entries(
        &self,
        request: Request<proto::ListEntriesRequest>,
    ) -> Result<Response<proto::ListEntriesResponse>, Status> {
        list_entries::handle(self, request).await
    }

    async fn freeze_wallet(
        &self,
        request: Request<proto::FreezeWalletRequest>,
    ) -> Result<Response<proto::FreezeWalletResponse>, Status> {
        freeze_wallet::handle(self, request).await
    }

    async fn unfreeze_wallet(
        &self,
        request: Request<proto::UnfreezeWalletRequest>,
    ) -> Result<Response<proto::UnfreezeWalletResponse>, Status> {
        unfreeze_wallet::handle(self, request).await
    }

    async fn close_wallet(
        &self,
        request: Request<proto::CloseWalletRequest>,
    ) -> Result<Response<proto::CloseWalletResponse>, Status> {
        close_wallet::handle(self, request).await
    }

    async fn set_credit_limit(
        &self,
        request: Request<proto::SetCreditLimitRequest>,
    ) -> Result<Response<proto::SetCreditLimitResponse>, Status> {
        set_credit_limit::handle(self, request).await
    }

    async fn set_spending_limits(
        &self,
        request: Request<proto::SetSpendingLimitsRequest>,
    ) -> Result<Response<proto::SetSpendingLimitsResponse>, Status> {
        set_spending_limits::handle(self, request).await
    }

    async fn get_spending_limits(
        &self,
        request: Request<proto::GetSpendingLimitsRequest>,
    ) -> Result<Response<proto::GetSpendingLimitsResponse>, Status> {
        get_spending_limits::handle(self, request).await
    }
}

/// The double-entry ledger, for the platform's own services.
pub(crate) struct Postings {
    /// The database.
    pub(crate) pool: PgPool,
    /// The way into the ledger.
    pub(crate) ledger: Ledger,
}

#[tonic::async_trait]
impl LedgerService for Postings {
    async fn post_batch(
        &self,
        request: Request<proto::PostBatchRequest>,
    ) -> Result<Response<proto::PostBatchResponse>, Status> {
        post_batch::handle(self, request).await
    }

    async fn post_bonus_grant(
        &self,
        request: Request<proto::PostBonusGrantRequest>,
    ) -> Result<Response<proto::PostBonusGrantResponse>, Status> {
        bonus::post_bonus_grant::handle(self, request).await
    }

    async fn batch_get_wallets(
        &self,
        request: Request<proto::BatchGetWalletsRequest>,
    ) -> Result<Response<proto::BatchGetWalletsResponse>, Status> {
        batch_get_wallets::handle(self, request).await
    }
}

/// The owner that a wallet must have for a caller of this reach to see it.
fn required_owner(reach: Reach) -> Option<UserId> {
    match reach {
        Reach::Own(user) => Some(user),
        Reach::Any => None,
    }
}
