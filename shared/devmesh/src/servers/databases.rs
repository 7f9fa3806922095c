//! The databases and roles of the services.
//!
//! A service has one database, an owner role that runs its migrations and an
//! application role that may only connect until a migration grants it more, so
//! that no running service can change its own schema or the tables that are
//! append-only.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::ports;
use crate::secrets::Secrets;
use crate::servers::postgres::SUPERUSER;

/// The services that own a database, in the order they are created.
pub const SERVICES: [&str; 5] = ["identity", "wallet", "transaction", "admin", "sandbox"];

/// How to reach PostgreSQL as each of its users.
#[derive(Clone)]
pub struct Databases {
    port: u16,
    superuser_password: String,
    roles: Vec<Role>,
}

#[derive(Clone)]
struct Role {
    name: String,
    password: String,
}

/// The connection URLs of one service's database.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct DatabaseUrls {
    /// The service.
    pub service: String,
    /// As the owner role.
    pub owner_url: String,
    /// As the application role.
    pub application_url: String,
}

impl Databases {
    /// The databases of a mesh on this port.
    pub fn new(port: u16, secrets: &mut Secrets) -> Self {
        let roles = SERVICES
            .iter()
            .flat_map(|service| [format!("{service}_owner"), format!("{service}_app")])
            .map(|name| Role {
                password: secrets.password(&format!("postgres.{name}")),
                name,
            })
            .collect();
        Self {
            port,
            superuser_password: secrets.password("postgres.superuser"),
            roles,
        }
    }

    /// The superuser's password.
    #[must_use]
    pub fn superuser_password(&self) -> &str {
        &self.superuser_password
    }

    /// The superuser's URL.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        self.url(SUPERUSER, &self.superuser_password, SUPERUSER)
    }

    /// The owner's URL of a service's database.
    #[must_use]
    pub fn owner_url(&self, service: &str) -> String {
        self.role_url(service, "owner")
    }

    /// The application's URL of a service's database.
    #[must_use]
    pub fn application_url(&self, service: &str) -> String {
        self.role_url(service, "app")
    }

    /// Both URLs of every service.
    #[must_use]
    pub fn urls(&self) -> Vec<DatabaseUrls> {
        SERVICES
            .iter()
            .map(|service| DatabaseUrls {
                service: (*service).to_owned(),
                owner_url: self.owner_url(service),
                application_url: self.application_url(service),
            })
            .collect()
    }

    /// Connects as the superuser.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.superuser_url()).await
    }

    /// Creates every role and database that is missing. May run at any time and
    /// any number of times.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn provision(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        for role in &self.roles {
            let exists = exists(
                connection,
                "SELECT FROM pg_roles WHERE rolname = $1",
                &role.name,
            );
            let verb = if exists.await? { "ALTER" } else { "CREATE" };
            // Role names are constants and passwords hexadecimal: nothing to quote.
            let statement = format!(
                "{verb} ROLE {} LOGIN PASSWORD '{}'",
                role.name, role.password
            );
            execute(connection, statement).await?;
        }
        for service in SERVICES {
            let exists = exists(
                connection,
                "SELECT FROM pg_database WHERE datname = $1",
                service,
            );
            if !exists.await? {
                execute(
                    connection,
                    format!("CREATE DATABASE {service} OWNER {service}_owner"),
                )
                .await?;
            }
            execute(
                connection,
                format!("REVOKE ALL ON DATABASE {service} FROM PUBLIC"),
            )
            .await?;
            execute(
                connection,
                format!("GRANT CONNECT ON DATABASE {service} TO {service}_app"),
            )
            .await?;
        }
        Ok(())
    }

    fn role_url(&self, service: &str, kind: &str) -> String {
        let name = format!("{service}_{kind}");
        let password = self
            .roles
            .iter()
            .find(|role| role.name == name)
            .map(|role| role.password.as_str())
            .unwrap_or_default();
        self.url(&name, password, service)
    }

    fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{user}:{password}@{}/{database}",
            ports::loopback(self.port)
        )
    }
}

async fn exists(
    connection: &mut PgConnection,
    query: &'static str,
    name: &str,
) -> sqlx::Result<bool> {
    Ok(sqlx::query(query)
        .bind(name)
        .fetch_optional(connection)
        .await?
        .is_some())
}

/// Runs a statement that takes no parameters in PostgreSQL (`CREATE ROLE` and
/// the like), hence dynamic; its parts are constants of this module.
async fn execute(connection: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    sqlx::query(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
}
