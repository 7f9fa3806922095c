//! Puts the parts of reconciliation together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use bursar_contracts::transaction::v1::reconciliation_service_server::ReconciliationServiceServer;
use bursar_server::{Job, Start};

use super::{Reconciliation, upload};
use crate::jobs::reconciliation::intake::Intake;
use crate::jobs::reconciliation::nightly::{self, Lists, Settings};
use crate::jobs::reconciliation::{self as jobs, Wake, backlog};
use crate::provider::{Access, ConnectorSettings, ProviderSettings, Providers};
use crate::reconciliation::listing::{MovementList, SandboxList, SandboxProduct};

/// How long a page of a provider's list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// The parts.
pub(crate) struct Reconciling {
    /// What answers gRPC.
    pub(crate) service: ReconciliationServiceServer<Reconciliation>,
    /// What answers plain HTTP.
    pub(crate) http: Router,
    /// What runs in the background.
    pub(crate) jobs: [Job; 3],
}

fn list(access: &Access, product: SandboxProduct) -> anyhow::Result<SandboxList> {
    SandboxList::new(&access.url, access.api_key.clone(), product, LIST_TIMEOUT)
}

/// The lists of the providers that have one.
pub(crate) fn lists(providers: &[ProviderSettings]) -> anyhow::Result<Lists> {
    providers
        .iter()
        .filter_map(|provider| {
            let list = match &provider.connector {
                ConnectorSettings::Sandbox(access) => list(access, SandboxProduct::Accounts),
                ConnectorSettings::Cards(access) => list(access, SandboxProduct::Cards),
                // It documents none: its settlement comes in files.
                ConnectorSettings::Providus(_) => return None,
            };
            Some(list.map(|list| {
                let list: Arc<dyn MovementList> = Arc::new(list);
                (provider.name.clone(), list)
            }))
        })
        .collect()
}

impl Reconciling {
    /// Puts them together.
    pub(crate) fn assemble(
        start: &Start,
        lists: Lists,
        providers: Providers,
    ) -> anyhow::Result<Self> {
        let settings = Settings::read(start)?;
        let (pool, shutdown) = (start.pool.clone(), start.shutdown.clone());
        let wake = Wake::default();
        let intake = Intake::new(pool.clone(), wake.clone());
        let service = Reconciliation::new(intake, providers);
        let verifier = start
            .verifier
            .clone()
            .context("BURSAR_JWKS_URL is not set")?;
        let matching = jobs::run(pool.clone(), wake.clone(), shutdown.clone());
        let counting = backlog::run(pool.clone(), shutdown.clone());
        let nights = nightly::run(pool, lists, settings, wake, shutdown);
        Ok(Self {
            http: upload::router(service.clone(), verifier),
            service: ReconciliationServiceServer::new(service),
            jobs: [
                Job::new("reconciliation", matching),
                Job::new("reconciliation lists", nights),
                Job::new("reconciliation backlog", counting),
            ],
        })
    }
}
