//! The service of accounts at providers.

use std::sync::Arc;

use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::provider_account_service_server::ProviderAccountService;
use bursar_server::{Job, Start};
use sqlx::PgPool;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

use super::{create_provider_account, get_provider_account, list_provider_accounts};
use crate::contract::provider_account;
use crate::error::{Error, ProviderAccountError};
use crate::jobs::provider_accounts::{self as job, Desk};
use crate::providers::{AccountProvider, ProviderSettings, Vault};
use crate::store::provider_accounts::Stored;

/// Accounts at providers.
pub(crate) struct ProviderAccounts {
    /// The database.
    pub(super) pool: PgPool,
    /// Who opens accounts; `None` when nobody does.
    pub(super) provider: Option<Arc<dyn AccountProvider>>,
    /// The key of what is personal.
    pub(super) vault: Option<Arc<Vault>>,
    /// Wakes the job that asks the provider.
    pub(super) wake: Arc<Notify>,
}

impl ProviderAccounts {
    /// The service by its settings, and the job that asks the provider.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub(crate) fn assemble(start: &Start) -> anyhow::Result<(Self, Option<Job>)> {
        let ProviderSettings { provider, vault } = ProviderSettings::read(start)?;
        let wake = Arc::new(Notify::new());
        let job = provider
            .clone()
            .zip(vault.clone())
            .map(|(provider, vault)| {
                let desk = Desk {
                    pool: start.pool.clone(),
                    provider,
                    vault,
                    wake: Arc::clone(&wake),
                };
                Job::new("provider accounts", job::run(desk, start.shutdown.clone()))
            });
        let service = Self {
            pool: start.pool.clone(),
            provider,
            vault,
            wake,
        };
        Ok((service, job))
    }

    /// An account as its owner sees it.
    pub(super) fn told(&self, stored: &Stored) -> Result<proto::ProviderAccount, Error> {
        let opened = match &stored.sealed {
            Some(sealed) => {
                let vault = self.vault.as_ref();
                let vault = vault.ok_or(ProviderAccountError::Disabled)?;
                let opened = vault.open_account(stored.account.id, sealed);
                Some(opened.map_err(ProviderAccountError::from)?)
            }
            None => None,
        };
        Ok(provider_account::provider_account(&stored.account, opened))
    }
}

#[tonic::async_trait]
impl ProviderAccountService for ProviderAccounts {
    async fn create_provider_account(
        &self,
        request: Request<proto::CreateProviderAccountRequest>,
    ) -> Result<Response<proto::CreateProviderAccountResponse>, Status> {
        create_provider_account::handle(self, request).await
    }

    async fn get_provider_account(
        &self,
        request: Request<proto::GetProviderAccountRequest>,
    ) -> Result<Response<proto::GetProviderAccountResponse>, Status> {
        get_provider_account::handle(self, request).await
    }

    async fn list_provider_accounts(
        &self,
        request: Request<proto::ListProviderAccountsRequest>,
    ) -> Result<Response<proto::ListProviderAccountsResponse>, Status> {
        list_provider_accounts::handle(self, request).await
    }
}
