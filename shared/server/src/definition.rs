//! What a service tells the server about itself.

use std::future::Future;
use std::pin::Pin;

use bursar_auth::Verifier;
use figment::Figment;
use serde::de::DeserializeOwned;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::config::Config;
use crate::invariants::Invariant;
use crate::outbound::{Outbound, ServiceTokens};
use crate::reads::Reads;

/// The migrations of one crate.
#[derive(Clone, Copy)]
pub struct Migrations {
    /// The crate's name; its applied migrations are kept in `_migrations_<name>`.
    pub name: &'static str,
    /// The migrations.
    pub migrator: &'static Migrator,
}

type AssembleFuture = Pin<Box<dyn Future<Output = anyhow::Result<Assembly>> + Send>>;

/// A service: its name, its tables, its rules, and how it is put together.
#[derive(Clone)]
pub struct Definition {
    /// The name, such as `wallet`. Events come from `bursar.<name>`.
    pub name: &'static str,
    /// The version, from the crate.
    pub version: &'static str,
    /// The migrations, in the order in which they are applied.
    pub migrations: Vec<Migrations>,
    /// The rules that `verify` checks.
    pub invariants: Vec<Invariant>,
    /// Puts the service together.
    pub assemble: fn(Start) -> AssembleFuture,
}

/// What a service is put together from.
#[derive(Clone)]
pub struct Start {
    /// The service's name.
    pub name: &'static str,
    /// The shared configuration.
    pub config: Config,
    /// Where further settings come from.
    pub environment: Figment,
    /// The database, as the application role.
    pub pool: PgPool,
    /// Where lists are read from.
    pub reads: Reads,
    /// Verifies access tokens; `None` where no key set is configured.
    pub verifier: Option<Verifier>,
    /// Ends when the process shall end.
    pub shutdown: CancellationToken,
    pub(crate) tokens: Option<ServiceTokens>,
}

impl Start {
    /// Reads the service's own settings: each field from the variable
    /// `BURSAR_` and its name in upper case.
    pub fn settings<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        Ok(self.environment.extract()?)
    }

    /// The Redis for events.
    pub fn redis(&self) -> anyhow::Result<redis::Client> {
        use anyhow::Context;
        use secrecy::ExposeSecret;
        let url = self
            .config
            .redis_events_url
            .as_ref()
            .context("BURSAR_REDIS_EVENTS_URL is not set")?;
        Ok(redis::Client::open(url.expose_secret())?)
    }

    /// A channel to another service, for the generated clients: connects when
    /// it is first used, and adds the service token, the user's token, the
    /// correlation id, the trace and the remaining deadline to every call.
    /// `service` is `identity`, `wallet`, `transaction` or `admin`.
    pub fn channel(&self, service: &str) -> anyhow::Result<Outbound> {
        use anyhow::Context;
        let address = match service {
            "identity" => &self.config.identity_address,
            "wallet" => &self.config.wallet_address,
            "transaction" => &self.config.transaction_address,
            "admin" => &self.config.admin_address,
            _ => &None,
        };
        let address = address
            .as_ref()
            .with_context(|| format!("BURSAR_{}_ADDRESS is not set", service.to_uppercase()))?;
        let tokens = self
            .tokens
            .clone()
            .context("BURSAR_SERVICE_CLIENT_ID and BURSAR_SERVICE_CLIENT_SECRET are not set")?;
        Outbound::new(address, tokens)
    }
}

/// A service, put together.
pub struct Assembly {
    /// Its gRPC services; `None` for a process without gRPC.
    pub routes: Option<Routes>,
    /// What it answers over plain HTTP, besides health and metrics.
    pub http: axum::Router,
    /// What it does in the background.
    pub jobs: Vec<Job>,
}

/// Work in the background. A job ends when the process shall end; one that ends
/// before takes the process with it, so that its supervisor starts it afresh.
pub struct Job {
    pub(crate) name: &'static str,
    pub(crate) future: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

impl Job {
    /// A job with a name for the log.
    pub fn new(
        name: &'static str,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Self {
        Self {
            name,
            future: Box::pin(future),
        }
    }
}
