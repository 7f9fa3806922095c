//! The PostgreSQL that everything is measured on, the reference included.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::reference;
use crate::checkout::Checkout;
use crate::mesh::Mesh;
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::servers::databases::Databases;

/// The reference's database.
const REFERENCE: &str = "reference";

/// The server.
#[derive(Clone)]
pub(super) struct Server {
    /// Where its programs are.
    pub(super) tools: PathBuf,
    /// Its first process.
    pub(super) pid: i32,
    pub(super) databases: Databases,
}

impl Server {
    /// Creates the services' roles and databases, and fills the reference's.
    pub(super) async fn prepare(checkout: &Checkout, mesh: &Mesh) -> anyhow::Result<Self> {
        let home = mesh.home();
        let (mut ports, mut secrets) = (Ports::load(home)?, Secrets::load(home)?);
        let databases = Databases::new(ports.get_or_choose("postgres")?, &mut secrets);
        ports.save(home)?;
        secrets.save(home)?;
        let server = Self {
            tools: checkout.tools()?,
            pid: mesh.process("postgres")?.pid,
            databases,
        };
        let mut connection = server.superuser().await?;
        server.databases.provision(&mut connection).await?;
        connection.close().await?;
        server.create(REFERENCE).await?;
        reference::prepare(&server.tools, &server.wallet_owner_url(REFERENCE)).await?;
        Ok(server)
    }

    /// Measures the reference: transactions a second.
    pub(super) async fn reference(&self, length: Duration) -> anyhow::Result<f64> {
        reference::measure(&self.tools, &self.wallet_owner_url(REFERENCE), length).await
    }

    /// Creates a database that belongs to wallet's owner role.
    pub(super) async fn create(&self, database: &str) -> anyhow::Result<()> {
        let mut server = self.superuser().await?;
        // Names of the benchmark only; `CREATE DATABASE` takes no parameters.
        let statement = format!("CREATE DATABASE {database} OWNER wallet_owner");
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut server)
            .await?;
        server.close().await?;
        Ok(())
    }

    /// A database of wallet's roles, whichever it is, as the owner of its tables.
    pub(super) fn wallet_owner_url(&self, database: &str) -> String {
        of(&self.databases.owner_url("wallet"), database)
    }

    /// The same as the application.
    pub(super) fn wallet_application_url(&self, database: &str) -> String {
        of(&self.databases.application_url("wallet"), database)
    }

    /// A connection as the superuser.
    pub(super) async fn superuser(&self) -> anyhow::Result<PgConnection> {
        Ok(self.databases.connect().await?)
    }

    /// Writes everything to the disk, so that no measurement pays for what was
    /// made before it.
    pub(super) async fn checkpoint(&self) -> anyhow::Result<()> {
        let mut server = self.superuser().await?;
        sqlx::query("CHECKPOINT").execute(&mut server).await?;
        server.close().await?;
        Ok(())
    }

    /// Reads one number from the server's own statistics.
    pub(super) async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        let mut server = self.superuser().await?;
        let count = sqlx::query_scalar(sql).fetch_one(&mut server).await?;
        server.close().await?;
        Ok(count)
    }
}

/// How many events of a service's database were not published yet.
pub(super) async fn unpublished(owner_url: &str) -> anyhow::Result<i64> {
    let mut connection = PgConnection::connect(owner_url).await?;
    let sql = "SELECT (SELECT count(*) FROM outbox)
        + (SELECT coalesce(sum(events), 0) FROM outbox_batches)";
    let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(count)
}

fn of(wallet_url: &str, database: &str) -> String {
    let server = wallet_url.strip_suffix("/wallet").unwrap_or(wallet_url);
    format!("{server}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the database's name changes, also where a role has the same name.
    #[test]
    fn a_url_of_another_database() {
        let url = of("postgres://wallet_app:wallet@127.0.0.1:1/wallet", "bare");
        assert_eq!(url, "postgres://wallet_app:wallet@127.0.0.1:1/bare");
    }
}
