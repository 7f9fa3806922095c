//! Movements of money, from the request to their end.
//!
//! The service orchestrates: the ledger and the balances are wallet's, the
//! money outside is the providers'. It records what it is about to do before it
//! does it, under ids that make every effect single, and moves on from there
//! whatever dies. The rules are in [`domain`], pure; `advance` is the one loop
//! that runs them, for live requests and for recovery alike.

mod advance;
mod callback;
mod config;
mod contract;
pub mod domain;
mod error;
mod invariants;
mod jobs;
mod ledger;
mod provider;
mod rpc;
mod store;
mod watch;

use std::sync::Arc;

use bursar_contracts::transaction::v1::transaction_service_server::TransactionServiceServer;
use bursar_server::{Assembly, Definition, Job, Migrations, Start};
use tonic::service::Routes;
use uuid::Uuid;

use crate::advance::Engine;
use crate::config::Settings;
use crate::ledger::Ledger;
use crate::provider::{PaymentProvider, Providers, Sandbox};

/// The migrations of this crate, with a table of applied versions of their own.
static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The service's definition.
pub fn definition() -> Definition {
    Definition {
        name: "transaction",
        version: env!("CARGO_PKG_VERSION"),
        migrations: vec![
            Migrations {
                name: "aip",
                migrator: &bursar_aip::MIGRATOR,
            },
            Migrations {
                name: "events",
                migrator: &bursar_events::MIGRATOR,
            },
            Migrations {
                name: "transaction",
                migrator: &MIGRATOR,
            },
        ],
        invariants: invariants::INVARIANTS.to_vec(),
        assemble: |start| Box::pin(assemble(start)),
    }
}

async fn assemble(start: Start) -> anyhow::Result<Assembly> {
    let settings = Settings::read(&start)?;
    let engine = Engine {
        pool: start.pool.clone(),
        ledger: Ledger::new(start.channel("wallet")?),
        providers: providers(&settings)?,
        holder: Uuid::now_v7(),
    };
    let (pool, shutdown) = (start.pool, start.shutdown);
    let recovery = jobs::recovery::run(engine.clone(), settings.recovery, shutdown.clone());
    let callbacks = jobs::callbacks::run(pool.clone(), shutdown.clone());
    let cleanup = jobs::cleanup::run(pool.clone(), shutdown);
    Ok(Assembly {
        http: callback::router(pool, engine.providers.clone()),
        routes: Some(Routes::new(TransactionServiceServer::new(rpc::Rpc::new(
            engine,
        )))),
        jobs: vec![
            Job::new("recovery", recovery),
            Job::new("callbacks", callbacks),
            Job::new("cleanup", cleanup),
        ],
    })
}

fn providers(settings: &Settings) -> anyhow::Result<Providers> {
    let mut providers = Vec::new();
    if let Some(sandbox) = &settings.sandbox {
        let client: Arc<dyn PaymentProvider> = Arc::new(Sandbox::new(sandbox.clone())?);
        providers.push(("sandbox".parse()?, client));
    }
    Ok(Providers::new(providers))
}
