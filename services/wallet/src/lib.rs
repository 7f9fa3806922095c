//! Wallets and the double-entry ledger.
//!
//! This is where the money is. A wallet's balance and the entries that explain
//! it are in one database and change in one statement, so there is no moment at
//! which money is half way. What it promises:
//!
//! - Every movement is a posting whose entries sum to zero in each currency; the
//!   pure domain decides it ([`domain::decide`]), the database refuses anything
//!   else, and [`invariants`] checks it on any deployment.
//! - A posting happens once, however often it is asked for: its id is the
//!   caller's, unique for ever, and asking again gives the first result.
//! - Nothing recorded is ever changed: the application's role may not, and
//!   triggers refuse it to everybody else.
//! - Postings of one wallet happen one after another, under its row lock; locks
//!   are taken in the order of the ids, so nobody waits in a circle
//!   ([`store::ledger`]).
//!
//! Calls to post gather in a bounded queue ([`jobs::queue`]), and two writers
//! turn what they find there into committed batches ([`jobs::writer`]).
//!
//! Users' wallets tell of everything by events. The platform's own wallets have
//! none: nearly every posting touches one of a few, and what happened to them is
//! told by the other side.

mod cache;
pub mod config;
mod contract;
pub mod domain;
pub mod error;
pub mod export;
pub mod invariants;
pub mod jobs;
pub mod providers;
mod rpc;
pub mod store;

use bursar_contracts::wallet::v1::bonus_service_server::BonusServiceServer;
use bursar_contracts::wallet::v1::history_service_server::HistoryServiceServer;
use bursar_contracts::wallet::v1::hold_service_server::HoldServiceServer;
use bursar_contracts::wallet::v1::ledger_service_server::LedgerServiceServer;
use bursar_contracts::wallet::v1::projection_service_server::ProjectionServiceServer;
use bursar_contracts::wallet::v1::proof_service_server::ProofServiceServer;
use bursar_contracts::wallet::v1::provider_account_service_server::ProviderAccountServiceServer;
use bursar_contracts::wallet::v1::wallet_service_server::WalletServiceServer;
use bursar_server::{Assembly, Definition, Extras, Job, Migrations, Start};
use tonic::service::Routes;

use crate::cache::WalletCache;
use crate::config::Settings;
use crate::config::proof::ProofSettings;
use crate::domain::book::SpendOrder;
use crate::invariants::INVARIANTS;
use crate::jobs::sealer::Sealer;
use crate::jobs::writer;
use crate::rpc::{
    Bonus, Histories, Holds, Postings, Projections, Proofs, ProviderAccounts, Wallets,
};

/// The migrations of this crate.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The service, for the server and for tests.
pub fn definition() -> Definition {
    Definition {
        name: "wallet",
        version: env!("CARGO_PKG_VERSION"),
        migrations: migrations(),
        invariants: INVARIANTS.to_vec(),
        assemble: |start| Box::pin(assemble(start)),
    }
}

/// What the service's program can do beyond what all of them can.
pub fn extras() -> Extras {
    Extras {
        checks: vec![invariants::CHAIN],
        commands: vec![export::command::command()],
    }
}

/// All migrations of the database, in the order in which they are applied.
pub fn migrations() -> Vec<Migrations> {
    vec![
        Migrations {
            name: "aip",
            migrator: &bursar_aip::MIGRATOR,
        },
        Migrations {
            name: "events",
            migrator: &bursar_events::MIGRATOR,
        },
        Migrations {
            name: "wallet",
            migrator: &MIGRATOR,
        },
    ]
}

/// Puts the service together. The writers end when the last handler is gone,
/// so that calls in flight at the end are still written.
async fn assemble(start: Start) -> anyhow::Result<Assembly> {
    let settings: Settings = start.settings()?;
    settings.check()?;
    let currency = settings.default_currency()?;
    let (ledger, inbox) = jobs::queue::queue(settings.ledger_max_postings);
    let (openings, opening_calls) = jobs::creation::queue();
    let creation = jobs::creation::run(
        opening_calls,
        start.pool.clone(),
        settings.max_wallets_per_user,
    );
    let cache = WalletCache::open(&start).await?;
    let wallets = Wallets {
        pool: start.pool.clone(),
        reads: start.reads.clone(),
        cache: cache.clone(),
        openings,
    };
    let holds = Holds {
        pool: start.pool.clone(),
        ledger: ledger.clone(),
    };
    let hold_expiry = jobs::hold_expiry::run(
        start.pool.clone(),
        ledger.clone(),
        settings.hold_expiry_interval(),
        start.shutdown.clone(),
    );
    let bonus = Bonus {
        pool: start.pool.clone(),
        ledger: ledger.clone(),
    };
    let bonus_job = jobs::bonus::run(
        start.pool.clone(),
        ledger.clone(),
        settings.bonus_interval(),
        start.shutdown.clone(),
    );
    let proof: ProofSettings = start.settings()?;
    let sealer = Sealer::new(
        start.pool.clone(),
        proof.signer(&start.config)?,
        proof.checkpoint_interval(),
    );
    let proofs = Proofs {
        pool: start.pool.clone(),
        checkpoint_interval: proof.checkpoint_interval(),
    };
    let postings = Postings {
        pool: start.pool.clone(),
        ledger,
    };
    let writing =
        writer::Settings::from(SpendOrder::from(settings.bonus_spend_order)).showing(cache.clone());
    let mut jobs = vec![
        Job::new("writers", writer::run(inbox, start.pool.clone(), writing)),
        Job::new("creation", creation),
        Job::new("hold expiry", hold_expiry),
        Job::new("sealer", sealer.run(start.shutdown.clone())),
        Job::new("bonus", bonus_job),
        Job::new(
            "cleanup",
            jobs::cleanup::run(start.pool.clone(), start.shutdown.clone()),
        ),
    ];
    let (provider_accounts, provider_job) = ProviderAccounts::assemble(&start)?;
    jobs.extend(provider_job);
    if start.config.redis_events_url.is_some() {
        let consumer = jobs::first_wallet::run(start.clone(), currency);
        jobs.push(Job::new("first wallets", consumer));
    } else {
        tracing::warn!("BURSAR_REDIS_EVENTS_URL is not set; new users get no first wallet");
    }
    jobs.extend(jobs::of_projections(
        &start,
        settings.projection_cpu_percent,
    ));
    let histories = Histories {
        pool: start.pool.clone(),
    };
    let projections = Projections {
        pool: start.pool.clone(),
    };
    let routes = Routes::new(WalletServiceServer::new(wallets))
        .add_service(HistoryServiceServer::new(histories))
        .add_service(ProjectionServiceServer::new(projections))
        .add_service(BonusServiceServer::new(bonus))
        .add_service(HoldServiceServer::new(holds))
        .add_service(LedgerServiceServer::new(postings))
        .add_service(ProofServiceServer::new(proofs))
        .add_service(ProviderAccountServiceServer::new(provider_accounts));
    Ok(Assembly {
        routes: Some(routes),
        http: axum::Router::new(),
        jobs,
    })
}
