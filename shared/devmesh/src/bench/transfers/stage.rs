//! Everything that stands while transfers are measured.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::gateway;
use crate::bench::driver::Driver;
use crate::bench::programs::Transfers;
use crate::bench::seed;
use crate::bench::server::Server;
use crate::bench::service::{Service, Site};
use crate::bench::settings::Settings;
use crate::bench::settling;
use crate::home::Home;
use crate::intent::Intent;
use crate::mesh::Mesh;
use crate::plan::{ProcessSpec, services};
use crate::ports::Ports;
use crate::secrets::Secrets;

/// The wallet service's database; the ledger's part has others.
const WALLETS: &str = "wallet_transfers";

/// The stage.
pub(in crate::bench) struct Stage {
    pub(super) server: Server,
    pub(super) driver: Driver,
    pub(super) gateway: Service,
    pub(super) transaction: Service,
    pub(super) wallet: Service,
    wallets: u32,
}

impl Stage {
    /// Makes and fills the databases and starts the services and the gateway.
    pub(in crate::bench) async fn set(
        settings: &Settings,
        programs: &Transfers,
        server: &Server,
        mesh: &Mesh,
        out: &mut impl Write,
    ) -> anyhow::Result<Self> {
        let driver = Driver::start(&programs.load).await?;
        let home = mesh.home();
        let intent = Intent::load(home)?.context("the mesh has an intent")?;
        let (mut ports, mut secrets) = (Ports::load(home)?, Secrets::load(home)?);
        let specs = services::specs(&intent, &server.databases, &mut ports, &mut secrets)?;
        ports.save(home)?;
        secrets.save(home)?;

        writeln!(out, "Filling the databases for transfers.")?;
        server.create(WALLETS).await?;
        let mut wallet = site("wallet", &programs.wallet, home, &specs, &driver)?;
        let own = [
            ("DATABASE_URL", server.wallet_application_url(WALLETS)),
            ("DATABASE_OWNER_URL", server.wallet_owner_url(WALLETS)),
        ];
        let own = own.map(|(name, value)| (format!("BURSAR_{name}"), value));
        wallet.environment.extend(own);
        let transaction = site("transaction", &programs.transaction, home, &specs, &driver)?;
        for site in [&wallet, &transaction] {
            site.migrate().await?;
        }
        seed::wallets(&server.wallet_owner_url(WALLETS), settings.wallets).await?;
        server.checkpoint().await?;

        let wallet = wallet.serve().await?;
        let transaction = transaction.serve().await?;
        let gateway =
            gateway::start(programs, server, home, &intent, &specs, &driver.issuer).await?;
        Ok(Self {
            server: server.clone(),
            driver,
            gateway,
            transaction,
            wallet,
            wallets: settings.wallets,
        })
    }

    /// The database that the load reads wallets and owners from.
    pub(super) fn wallets_url(&self) -> String {
        self.server.wallet_owner_url(WALLETS)
    }

    /// How many wallets the load is about.
    pub(super) fn wallets(&self) -> u32 {
        self.wallets
    }

    /// Waits until both services have published what was written so far. Returns
    /// how many events waited.
    pub(super) async fn settle(&self) -> anyhow::Result<i64> {
        let transactions = self.server.databases.owner_url("transaction");
        settling::settle(&[self.wallets_url(), transactions]).await
    }

    /// Stops everything, the callers of others first.
    pub(in crate::bench) async fn strike(self) -> anyhow::Result<()> {
        for service in [self.gateway, self.transaction, self.wallet] {
            service.stop().await?;
        }
        self.driver.end().await
    }
}

/// A service as the plan of a mesh has it, but trusting the load's issuer.
fn site(
    name: &'static str,
    program: &Path,
    home: &Home,
    specs: &[ProcessSpec],
    driver: &Driver,
) -> anyhow::Result<Site> {
    let spec = specs
        .iter()
        .find(|spec| spec.name == name)
        .with_context(|| format!("the plan has no {name}"))?;
    let http = spec.http_address.as_deref();
    let http = http.with_context(|| format!("{name} has no HTTP address"))?;
    let mut environment = spec.environment.clone();
    let issuer = &driver.issuer;
    let own = [
        ("EVENTS_STREAM_PREFIX", "bench:transfers:".to_owned()),
        ("JWKS_URL", issuer.jwks_url.clone()),
        ("IDENTITY_ADDRESS", issuer.identity_address.clone()),
    ];
    environment.extend(own.map(|(name, value)| (format!("BURSAR_{name}"), value)));
    Ok(Site {
        name,
        program: program.to_owned(),
        environment,
        log: home.log(&format!("{name}.transfers")),
        address: spec.address.clone(),
        ready_url: format!("http://{http}/readyz"),
    })
}
