//! Everything that stands while the ledger's rounds are measured.

use std::io::Write;

use anyhow::Context;
use sqlx::{Connection, PgConnection};

use super::driver::Driver;
use super::programs::Ledger;
use super::seed;
use super::server::Server;
use super::service::{Service, Site};
use super::settings::Settings;
use super::settling;
use crate::intent::Intent;
use crate::mesh::Mesh;
use crate::plan::services;
use crate::ports::{self, Ports};
use crate::secrets::Secrets;

/// The database of the service that is measured.
const USUAL: &str = "wallet";
/// The database of the measurement without a service.
const BARE: &str = "wallet_bare";
/// The database with many wallets.
const MANY: &str = "wallet_many";

/// The stage.
pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) driver: Driver,
    /// The service with the usual number of wallets.
    pub(super) usual: Service,
    /// The service with many wallets.
    pub(super) many: Option<Service>,
    wallets: u32,
    many_wallets: u32,
}

/// A database as its owner and as the application.
pub(super) struct Urls {
    pub(super) owner: String,
    pub(super) application: String,
    /// How many of its wallets the load is about.
    pub(super) wallets: u32,
}

impl Stage {
    /// Makes and fills the databases and starts the services.
    pub(super) async fn set(
        settings: &Settings,
        programs: &Ledger,
        server: &Server,
        mesh: &Mesh,
        out: &mut impl Write,
    ) -> anyhow::Result<Self> {
        let driver = Driver::start(&programs.load).await?;
        let home = mesh.home();
        let intent = Intent::load(home)?.context("the mesh has an intent")?;
        let (mut ports, mut secrets) = (Ports::load(home)?, Secrets::load(home)?);
        for database in [BARE, MANY] {
            server.create(database).await?;
        }

        let spec = services::specs(&intent, &server.databases, &mut ports, &mut secrets)?
            .into_iter()
            .find(|spec| spec.name == "wallet")
            .context("the plan has a wallet")?;
        let site = |database: &str, ports: &mut Ports| -> anyhow::Result<Site> {
            let (grpc_port, http_port) = (
                ports.get_or_choose(&format!("{database}.bench.grpc"))?,
                ports.get_or_choose(&format!("{database}.bench.http"))?,
            );
            let mut environment = spec.environment.clone();
            let own = [
                ("GRPC_ADDRESS", ports::loopback(grpc_port).to_string()),
                ("HTTP_ADDRESS", ports::loopback(http_port).to_string()),
                ("DATABASE_URL", server.wallet_application_url(database)),
                ("DATABASE_OWNER_URL", server.wallet_owner_url(database)),
                ("EVENTS_STREAM_PREFIX", format!("bench:{database}:")),
                ("JWKS_URL", driver.issuer.jwks_url.clone()),
                ("IDENTITY_ADDRESS", driver.issuer.identity_address.clone()),
            ];
            environment.extend(own.map(|(name, value)| (format!("BURSAR_{name}"), value)));
            Ok(Site {
                name: "wallet",
                program: programs.wallet.clone(),
                environment,
                log: home.log(database),
                address: ports::loopback(grpc_port).to_string(),
                ready_url: format!("http://{}/readyz", ports::loopback(http_port)),
            })
        };
        let usual = site(USUAL, &mut ports)?;
        let bare = site(BARE, &mut ports)?;
        let many = site(MANY, &mut ports)?;
        ports.save(home)?;
        secrets.save(home)?;

        writeln!(out, "Filling the ledger's databases.")?;
        for site in [&usual, &bare, &many] {
            site.migrate().await?;
        }
        for database in [USUAL, BARE] {
            seed::wallets(&server.wallet_owner_url(database), settings.wallets).await?;
        }
        if settings.growth {
            let owner = server.wallet_owner_url(MANY);
            seed::wallets(&owner, settings.many_wallets).await?;
        }
        server.checkpoint().await?;
        Ok(Self {
            server: server.clone(),
            driver,
            usual: usual.serve().await?,
            many: match settings.growth {
                true => Some(many.serve().await?),
                false => None,
            },
            wallets: settings.wallets,
            many_wallets: settings.many_wallets,
        })
    }

    /// The database of the service that is measured.
    pub(super) fn usual(&self) -> Urls {
        self.urls(USUAL, self.wallets)
    }

    /// The database that no service uses.
    pub(super) fn bare(&self) -> Urls {
        self.urls(BARE, self.wallets)
    }

    /// The database with many wallets.
    pub(super) fn many(&self) -> Urls {
        self.urls(MANY, self.many_wallets)
    }

    /// Waits until the services have published what was written so far. Returns
    /// how many events waited.
    pub(super) async fn settle(&self) -> anyhow::Result<i64> {
        let mut databases = vec![self.server.wallet_owner_url(USUAL)];
        if self.many.is_some() {
            databases.push(self.server.wallet_owner_url(MANY));
        }
        settling::settle(&databases).await
    }

    /// How often the tables of the measured service were cleaned up so far.
    pub(super) async fn autovacuums(&self) -> anyhow::Result<i64> {
        let mut database = PgConnection::connect(&self.usual().owner).await?;
        let sql = "SELECT coalesce(sum(autovacuum_count), 0)::bigint FROM pg_stat_user_tables";
        let count = sqlx::query_scalar(sql).fetch_one(&mut database).await?;
        database.close().await?;
        Ok(count)
    }

    /// Stops the services and the load.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        self.usual.stop().await?;
        if let Some(many) = self.many {
            many.stop().await?;
        }
        self.driver.end().await
    }

    fn urls(&self, database: &str, wallets: u32) -> Urls {
        Urls {
            owner: self.server.wallet_owner_url(database),
            application: self.server.wallet_application_url(database),
            wallets,
        }
    }
}
