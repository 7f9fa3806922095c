//! Movements of money, from the request to their end.
//!
//! The service orchestrates: the ledger and the balances are wallet's, the
//! money outside is the providers'. It records what it is about to do before it
//! does it, under ids that make every effect single, and moves on from there
//! whatever dies. The rules are in [`domain`], pure; `advance` is the one loop
//! that runs them, for live requests and for recovery alike.

mod advance;
mod bulk;
mod callback;
mod config;
mod contract;
pub mod domain;
mod error;
mod explain;
mod fraud;
mod group;
mod intents;
mod invariants;
mod jobs;
mod ledger;
mod limits;
mod payout;
mod pricing;
mod provider;
pub mod reconciliation;
mod rpc;
mod schedule;
mod store;
mod watch;
mod watching;

use std::sync::Arc;

use anyhow::Context as _;
use bursar_contracts::transaction::v1::back_office_service_server::BackOfficeServiceServer;
use bursar_contracts::transaction::v1::bulk_service_server::BulkServiceServer;
use bursar_contracts::transaction::v1::explain_service_server::ExplainServiceServer;
use bursar_contracts::transaction::v1::fee_service_server::FeeServiceServer;
use bursar_contracts::transaction::v1::fraud_service_server::FraudServiceServer;
use bursar_contracts::transaction::v1::fx_service_server::FxServiceServer;
use bursar_contracts::transaction::v1::limit_service_server::LimitServiceServer;
use bursar_contracts::transaction::v1::payout_account_service_server::PayoutAccountServiceServer;
use bursar_contracts::transaction::v1::quote_service_server::QuoteServiceServer;
use bursar_contracts::transaction::v1::review_service_server::ReviewServiceServer;
use bursar_contracts::transaction::v1::schedule_service_server::ScheduleServiceServer;
use bursar_contracts::transaction::v1::transaction_service_server::TransactionServiceServer;
use bursar_contracts::transaction::v1::watch_service_server::WatchServiceServer;
use bursar_server::{Assembly, Definition, Job, Migrations, Start, database};
use tonic::service::Routes;
use uuid::Uuid;

use crate::advance::Engine;
use crate::config::Settings;
use crate::explain::entries::{self, Entries};
use crate::fraud::screener::Screener;
use crate::group::Crowd;
use crate::ledger::Ledger;
use crate::payout::PayoutAccounts;
use crate::provider::Providers;
use crate::rpc::reconciliation::Reconciling;
use crate::watching::feed::Feed;

/// Connections for what is written together: two batches of intents, and two of ends.
const GROUP_CONNECTIONS: u32 = 4;
/// How many bulks are written at once.
const BULK_CONNECTIONS: u32 = 4;

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
        invariants: [
            &invariants::INVARIANTS[..],
            &bulk::invariants::INVARIANTS[..],
            &limits::INVARIANTS[..],
            &fraud::INVARIANTS[..],
            &schedule::invariants::INVARIANTS[..],
            &pricing::invariants::INVARIANTS[..],
            &reconciliation::invariants::INVARIANTS[..],
        ]
        .concat(),
        assemble: |start| Box::pin(assemble(start)),
    }
}

async fn assemble(start: Start) -> anyhow::Result<Assembly> {
    let settings = Settings::read(&start)?;
    let lists = rpc::reconciliation::lists(&settings.providers)?;
    let crowd = Crowd::new();
    let (ledger, ledger_calls) = Ledger::new(start.channel("wallet")?, &crowd);
    let groups = database::by_key(&start.pool, GROUP_CONNECTIONS);
    let (endings, writing_ends) = advance::endings(groups.clone(), &crowd);
    let (fraud, holder) = (Screener::default(), Uuid::now_v7());
    let (intents, writing_intents) = intents::intents(groups, fraud.clone(), holder, &crowd);
    let engine = Engine {
        pool: start.pool.clone(),
        bulks: database::by_key(&start.pool, BULK_CONNECTIONS),
        ledger,
        providers: Providers::new(settings.providers)?,
        payout_accounts: PayoutAccounts::new(settings.vault),
        fraud,
        intents,
        endings,
        holder,
    };
    let wallet = start.config.wallet_address.as_deref();
    let wallet = entries::channel(wallet.context("BURSAR_WALLET_ADDRESS is not set")?)?;
    let feed = Arc::new(feed(&start)?);
    let reconciling = Reconciling::assemble(&start, lists, engine.providers.clone())?;
    let fraud = jobs::fraud::worker(&start, engine.fraud.clone())?;
    let (pool, shutdown) = (start.pool, start.shutdown);
    let fraud_keeping = jobs::fraud::keep(pool.clone(), shutdown.clone());
    let recovery = jobs::recovery::run(engine.clone(), settings.recovery, shutdown.clone());
    let callbacks = jobs::callbacks::run(pool.clone(), shutdown.clone());
    let cleanup = jobs::cleanup::run(pool.clone(), shutdown.clone());
    let bulk = jobs::bulk::run(engine.clone(), settings.recovery, shutdown.clone());
    let schedules = jobs::schedules::run(engine.clone(), settings.recovery, shutdown.clone());
    Ok(Assembly {
        http: callback::router(pool, engine.providers.clone()).merge(reconciling.http),
        routes: Some(
            Routes::new(ReviewServiceServer::new(rpc::Reviews::new(engine.clone())))
                .add_service(BulkServiceServer::new(rpc::BulkRpc::new(
                    engine.clone(),
                    shutdown.clone(),
                )))
                .add_service(ExplainServiceServer::new(rpc::ExplainRpc::new(
                    engine.clone(),
                    Entries::new(wallet.clone()),
                )))
                .add_service(WatchServiceServer::new(rpc::WatchRpc::new(
                    engine.pool.clone(),
                    Arc::clone(&feed),
                    wallet,
                    shutdown.clone(),
                )))
                .add_service(reconciling.service)
                .add_service(ScheduleServiceServer::new(rpc::schedule::ScheduleRpc::new(
                    engine.clone(),
                )))
                .add_service(FraudServiceServer::new(rpc::FraudRpc::new(engine.clone())))
                .add_service(BackOfficeServiceServer::new(rpc::BackOffice::new(
                    engine.clone(),
                )))
                .add_service(PayoutAccountServiceServer::new(rpc::PayoutAccountRpc::new(
                    engine.clone(),
                )))
                .add_service(FeeServiceServer::new(rpc::FeeRules::new(
                    engine.pool.clone(),
                )))
                .add_service(FxServiceServer::new(rpc::ExchangeRates::new(
                    engine.pool.clone(),
                )))
                .add_service(LimitServiceServer::new(rpc::LimitRpc::new(engine.clone())))
                .add_service(QuoteServiceServer::new(rpc::Quotes::new(
                    engine.pool.clone(),
                    engine.ledger.clone(),
                    settings.quotes,
                )))
                .add_service(TransactionServiceServer::new(rpc::Rpc::new(engine))),
        ),
        jobs: vec![
            Job::new("ledger calls", ledger_calls),
            Job::new("intents", writing_intents),
            Job::new("endings", writing_ends),
            Job::new("recovery", recovery),
            Job::new("bulk", bulk),
            Job::new("schedules", schedules),
            Job::new("watching", feed.run(shutdown)),
            Job::new("callbacks", callbacks),
            Job::new("cleanup", cleanup),
            Job::new("fraud keeping", fraud_keeping),
        ]
        .into_iter()
        .chain(fraud)
        .chain(reconciling.jobs)
        .collect(),
    })
}

/// The streams of events, where a Redis is configured.
fn feed(start: &Start) -> anyhow::Result<Feed> {
    let redis = match &start.config.redis_events_url {
        Some(_) => Some(start.redis()?),
        None => None,
    };
    let stream_prefix = start.config.events_stream_prefix.clone();
    Ok(Feed::new(start.pool.clone(), redis, stream_prefix))
}
