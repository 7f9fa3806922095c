//! Wallets for display, from memory and Redis.
//!
//! Nothing that moves money reads this: the ledger reads wallets under their
//! locks. It answers GetWallet, where being a moment behind does no harm:
//!
//! - This process shows what it committed from before the caller is answered, so
//!   a caller of one instance reads its own writes.
//! - Another instance may show what was before for as long as its memory keeps
//!   it, a second. Who cannot accept that asks for a minimum version.
//! - What Redis was not told, because the process died or Redis was gone, goes
//!   unseen for as long as Redis keeps a value, ten seconds.
//!
//! A value's version is the wallet's count of events, which rises with every
//! change of its row; the platform's own wallets have no events, and nothing but
//! postings changes them, so theirs is the count of entries.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bursar_aip::id::{TenantId, UserId, WalletId};
use bursar_cache::{Cache, Connection, Item, Keyspace, LoadError, Purpose, Settings};
use bursar_contracts::wallet::v1 as proto;
use bursar_server::Start;
use secrecy::ExposeSecret;
use sqlx::PgPool;

use crate::contract::wallet;
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::wallets;

/// How long Redis keeps a wallet.
const REDIS_TIME_TO_LIVE: Duration = Duration::from_secs(10);

/// The cache, and where it fills itself from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct WalletCache {
    cache: Arc<Cache<proto::Wallet>>,
    pool: PgPool,
}

impl WalletCache {
    /// The cache of a service: without a Redis for caches it is memory alone.
    pub(crate) async fn open(start: &Start) -> anyhow::Result<Self> {
        let connection = match &start.config.redis_cache_url {
            Some(url) => Some(
                Connection::open(Purpose::Cache, url.expose_secret())
                    .await
                    .context("BURSAR_REDIS_CACHE_URL")?,
            ),
            None => None,
        };
        let settings = Settings {
            redis_time_to_live: REDIS_TIME_TO_LIVE,
            ..Settings::new("wallets", Keyspace::new(Purpose::Cache, start.name))
        };
        Ok(Self {
            cache: Arc::new(Cache::new(connection, settings)),
            pool: start.pool.clone(),
        })
    }

    /// A wallet of the tenant with at least this version, as the contract has it.
    /// With `owner`, only if it belongs to that user.
    pub(crate) async fn get(
        &self,
        tenant: &TenantId,
        id: WalletId,
        owner: Option<UserId>,
        min_version: i64,
    ) -> Result<proto::Wallet, Error> {
        let key = key(tenant, id);
        let mut found = self.load(&key, tenant, id, 0).await?;
        if found.version < min_version {
            // The count of entries is at most the count of events, and one entry
            // too few is enough to look again.
            let seen = self
                .cache
                .get(&key)
                .await
                .map_or(0, |cached| cached.version);
            found = self.load(&key, tenant, id, seen.saturating_add(1)).await?;
        }
        if owner.is_some_and(|owner| found.owner_user_id != owner.to_string()) {
            return Err(Error::WalletNotFound);
        }
        if found.version < min_version {
            return Err(Error::WalletVersionNotReached {
                version: found.version,
            });
        }
        Ok(found)
    }

    async fn load(
        &self,
        key: &str,
        tenant: &TenantId,
        id: WalletId,
        min_cached: u64,
    ) -> Result<proto::Wallet, Error> {
        let read = async || -> Result<Option<(u64, proto::Wallet)>, Error> {
            let mut connection = self.pool.acquire().await?;
            let found = wallets::find(&mut connection, tenant, id, None).await?;
            Ok(found.map(|found| (version(&found), wallet::wallet(&found))))
        };
        match self.cache.load_at_least(key, min_cached, read).await {
            Ok(Some(cached)) => Ok((*cached.value).clone()),
            Ok(None) => Err(Error::WalletNotFound),
            Err(LoadError::Loader(error)) => Err(error),
            Err(LoadError::Joined(reason)) => {
                tracing::warn!(reason, "a wallet could not be read");
                Err(Error::LedgerUnavailable)
            }
        }
    }

    /// Shows a wallet as the database has it, after a change that the ledger did
    /// not make. Without the database the cache shows it a little later.
    pub(crate) async fn refresh(&self, tenant: &TenantId, id: WalletId) {
        let found = async {
            let mut connection = self.pool.acquire().await?;
            wallets::find(&mut connection, tenant, id, None).await
        };
        match found.await {
            Ok(found) => self.committed(found.as_slice()).await,
            Err(error) => tracing::warn!(%error, wallet = %id, "the cache is not refreshed"),
        }
    }

    /// Shows what was committed: to this process when it returns, through Redis
    /// to the others soon after. Only what somebody has read lately is replaced.
    pub(crate) async fn committed(&self, changed: &[Wallet]) {
        let items: Vec<Item<proto::Wallet>> = changed
            .iter()
            .map(|changed| Item {
                key: key(&changed.tenant, changed.id),
                version: version(changed),
                value: wallet::wallet(changed),
            })
            .collect();
        let cache = Arc::clone(&self.cache);
        let mut update = Box::pin(async move { cache.update_many(items).await });
        // Up to its first wait it changes memory; Redis may take its time.
        if futures::poll!(update.as_mut()).is_pending() {
            tokio::spawn(update);
        }
    }
}

fn key(tenant: &TenantId, id: WalletId) -> String {
    format!("{tenant}:{id}")
}

fn version(wallet: &Wallet) -> u64 {
    let count = match wallet.owner {
        Some(_) => wallet.event_version,
        None => wallet.version,
    };
    u64::try_from(count).unwrap_or_default()
}
