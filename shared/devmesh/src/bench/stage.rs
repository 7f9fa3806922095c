//! Everything that stands while the rounds are measured.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::driver::Driver;
use super::programs::Programs;
use super::settings::Settings;
use super::wallet::{Service, Site};
use super::{reference, seed};
use crate::checkout::Checkout;
use crate::intent::Intent;
use crate::mesh::Mesh;
use crate::plan::services;
use crate::ports::{self, Ports};
use crate::secrets::Secrets;
use crate::servers::databases::Databases;

/// The database of the service that is measured.
const USUAL: &str = "wallet";
/// The database of the measurement without a service.
const BARE: &str = "wallet_bare";
/// The database with many wallets.
const MANY: &str = "wallet_many";
/// The reference's database.
const REFERENCE: &str = "reference";

/// How long the services may take to publish what a measurement left behind, and
/// how often that is looked at.
const SETTLING: Duration = Duration::from_secs(60);
const SETTLING_INTERVAL: Duration = Duration::from_millis(200);

/// The stage.
pub(super) struct Stage {
    pub(super) tools: PathBuf,
    pub(super) driver: Driver,
    /// The service with the usual number of wallets.
    pub(super) usual: Service,
    /// The service with many wallets.
    pub(super) many: Option<Service>,
    pub(super) postgres_pid: i32,
    databases: Databases,
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
        checkout: &Checkout,
        programs: &Programs,
        mesh: &Mesh,
        out: &mut impl Write,
    ) -> anyhow::Result<Self> {
        let driver = Driver::start(programs).await?;
        let home = mesh.home();
        let intent = Intent::load(home)?.context("the mesh has an intent")?;
        let (mut ports, mut secrets) = (Ports::load(home)?, Secrets::load(home)?);
        let databases = Databases::new(ports.get_or_choose("postgres")?, &mut secrets);
        let tools = checkout.tools()?;
        let mut server = databases.connect().await?;
        databases.provision(&mut server).await?;
        for database in [BARE, MANY] {
            create(&mut server, database, "wallet_owner").await?;
        }
        create(&mut server, REFERENCE, "wallet_owner").await?;
        server.close().await?;

        let spec = services::specs(&intent, &databases, &mut ports, &mut secrets)?
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
                ("DATABASE_URL", url(&databases, database, "app")),
                ("DATABASE_OWNER_URL", url(&databases, database, "owner")),
                ("EVENTS_STREAM_PREFIX", format!("bench:{database}:")),
                ("JWKS_URL", driver.issuer.jwks_url.clone()),
                ("IDENTITY_ADDRESS", driver.issuer.identity_address.clone()),
            ];
            environment.extend(own.map(|(name, value)| (format!("BURSAR_{name}"), value)));
            Ok(Site {
                program: programs.wallet.clone(),
                environment,
                log: home.log(database),
                grpc_port,
                http_port,
            })
        };
        let usual = site(USUAL, &mut ports)?;
        let bare = site(BARE, &mut ports)?;
        let many = site(MANY, &mut ports)?;
        ports.save(home)?;
        secrets.save(home)?;

        writeln!(out, "Filling the databases.")?;
        reference::prepare(&tools, &url(&databases, REFERENCE, "owner")).await?;
        for site in [&usual, &bare, &many] {
            site.migrate().await?;
        }
        for database in [USUAL, BARE] {
            seed::wallets(&url(&databases, database, "owner"), settings.wallets).await?;
        }
        if settings.growth {
            let owner = url(&databases, MANY, "owner");
            seed::wallets(&owner, settings.many_wallets).await?;
        }
        let mut server = databases.connect().await?;
        sqlx::query("CHECKPOINT").execute(&mut server).await?;
        server.close().await?;
        Ok(Self {
            tools,
            driver,
            usual: usual.serve().await?,
            many: match settings.growth {
                true => Some(many.serve().await?),
                false => None,
            },
            postgres_pid: mesh.process("postgres")?.pid,
            databases,
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

    /// The reference's database.
    pub(super) fn reference_url(&self) -> String {
        url(&self.databases, REFERENCE, "owner")
    }

    /// Reads one number from the server's own statistics.
    pub(super) async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        let mut server = self.databases.connect().await?;
        let count = sqlx::query_scalar(sql).fetch_one(&mut server).await?;
        server.close().await?;
        Ok(count)
    }

    /// Waits until the services have published what was written so far, so that
    /// one measurement does not pay for another. Returns how many events waited.
    pub(super) async fn settle(&self) -> anyhow::Result<i64> {
        let mut waited = None;
        let start = Instant::now();
        loop {
            let mut waiting = self.unpublished(USUAL).await?;
            if self.many.is_some() {
                waiting += self.unpublished(MANY).await?;
            }
            let first = *waited.get_or_insert(waiting);
            if waiting == 0 || start.elapsed() > SETTLING {
                return Ok(first);
            }
            tokio::time::sleep(SETTLING_INTERVAL).await;
        }
    }

    async fn unpublished(&self, database: &str) -> anyhow::Result<i64> {
        let mut connection =
            PgConnection::connect(&url(&self.databases, database, "owner")).await?;
        let sql = "SELECT (SELECT count(*) FROM outbox)
            + (SELECT coalesce(sum(events), 0) FROM outbox_batches)";
        let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(count)
    }

    /// A connection as the superuser.
    pub(super) async fn superuser(&self) -> anyhow::Result<PgConnection> {
        Ok(self.databases.connect().await?)
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
            owner: url(&self.databases, database, "owner"),
            application: url(&self.databases, database, "app"),
            wallets,
        }
    }
}

/// A database of wallet's roles, whichever it is.
fn url(databases: &Databases, database: &str, role: &str) -> String {
    let wallet = match role {
        "owner" => databases.owner_url("wallet"),
        _ => databases.application_url("wallet"),
    };
    let server = wallet.strip_suffix("/wallet").unwrap_or(&wallet);
    format!("{server}/{database}")
}

async fn create(server: &mut PgConnection, database: &str, owner: &str) -> anyhow::Result<()> {
    // Names of this module only; `CREATE DATABASE` takes no parameters.
    let statement = format!("CREATE DATABASE {database} OWNER {owner}");
    sqlx::query(AssertSqlSafe(statement))
        .execute(server)
        .await?;
    Ok(())
}
