//! A database for one test, with an owner and an application role.

use std::time::Duration;

use bursar_server::{Migrations, database};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

const OWNER: &str = "bursar_test_owner";
const APPLICATION: &str = "bursar_test_application";
/// The advisory lock under which roles, templates and databases are made.
const LOCK: i64 = 0x6275_7273_6172;

/// A database that exists as long as this value does.
pub struct TestDatabase {
    /// Connections as the application role.
    pub pool: PgPool,
    /// Connections as the role that owns the tables.
    pub owner: PgPool,
    /// The address as the owner.
    pub owner_url: String,
    /// The address as the application role.
    pub application_url: String,
    /// The server, as its superuser.
    admin: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    /// Makes a database with these migrations applied.
    pub async fn create(migrations: &[Migrations]) -> Self {
        Self::create_on(admin_options(), migrations).await
    }

    /// Makes a database on a server of the test's own; `admin` is its superuser.
    pub async fn create_on(admin: PgConnectOptions, migrations: &[Migrations]) -> Self {
        let mut connection = PgConnection::connect_with(&admin)
            .await
            .expect("the test server answers");
        lock(&mut connection).await;
        create_roles(&mut connection).await;
        let template = template(&mut connection, &admin, migrations).await;
        let name = format!("test_{}", Uuid::now_v7().simple());
        execute(
            &mut connection,
            format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}"),
        )
        .await;
        connection
            .close()
            .await
            .expect("closing a healthy connection");

        let owner_url = url_of(&admin, OWNER, &name);
        let application_url = url_of(&admin, APPLICATION, &name);
        Self {
            pool: pool(&application_url),
            owner: pool(&owner_url),
            owner_url,
            application_url,
            admin,
            name,
        }
    }

    /// Connections as a superuser, for tests that tamper with data.
    pub async fn superuser(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(2)
            .connect_with(self.admin.clone().database(&self.name))
            .await
            .expect("the test server answers")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let admin = self.admin.clone();
        // Dropping is asynchronous and the test's runtime may be about to end,
        // so it happens on a thread with a runtime of its own.
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime for dropping the database");
            runtime.block_on(async {
                let Ok(mut connection) = PgConnection::connect_with(&admin).await else {
                    return;
                };
                let _ = sqlx::query(AssertSqlSafe(statement))
                    .execute(&mut connection)
                    .await;
            });
        });
        let _ = dropper.join();
    }
}

/// The test server, as its superuser.
pub(crate) fn admin_options() -> PgConnectOptions {
    crate::required("BURSAR_TEST_POSTGRES_URL")
        .parse()
        .expect("BURSAR_TEST_POSTGRES_URL is a PostgreSQL address")
}

fn pool(url: &str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .connect_lazy(url)
        .expect("the address was made by the test kit")
}

/// The address of a database for another role. The test server trusts its
/// local users; the password is the role's name for servers that ask for one.
fn url_of(admin: &PgConnectOptions, role: &str, database: &str) -> String {
    match admin.get_socket() {
        Some(socket) => format!(
            "postgres://{role}:{role}@localhost:{}/{database}?host={}",
            admin.get_port(),
            socket.display()
        ),
        None => format!(
            "postgres://{role}:{role}@{}:{}/{database}",
            admin.get_host(),
            admin.get_port()
        ),
    }
}

async fn lock(connection: &mut PgConnection) {
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(connection)
        .await
        .expect("the advisory lock is free at last");
}

async fn create_roles(connection: &mut PgConnection) {
    for role in [OWNER, APPLICATION] {
        let exists: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
                .bind(role)
                .fetch_one(&mut *connection)
                .await
                .expect("roles can be listed");
        if !exists {
            execute(
                connection,
                format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'"),
            )
            .await;
        }
    }
}

/// The template database with these migrations, made once a server.
async fn template(
    connection: &mut PgConnection,
    admin: &PgConnectOptions,
    migrations: &[Migrations],
) -> String {
    let mut hash = Sha256::new();
    for set in migrations {
        hash.update(set.name);
        for migration in set.migrator.iter() {
            hash.update(migration.version.to_le_bytes());
            hash.update(&migration.checksum);
        }
    }
    let digest = hash.finalize();
    let id: String = digest[..10]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("template_{id}");
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&name)
            .fetch_one(&mut *connection)
            .await
            .expect("databases can be listed");
    if exists {
        return name;
    }
    // A template that could not be finished must not be taken for a whole one.
    let unfinished = format!("unfinished_{id}");
    execute(connection, format!("DROP DATABASE IF EXISTS {unfinished}")).await;
    execute(
        connection,
        format!("CREATE DATABASE {unfinished} OWNER {OWNER}"),
    )
    .await;
    database::migrate(
        &SecretString::from(url_of(admin, OWNER, &unfinished)),
        &SecretString::from(url_of(admin, APPLICATION, &unfinished)),
        migrations,
    )
    .await
    .expect("the migrations apply to an empty database");
    execute(
        connection,
        format!("ALTER DATABASE {unfinished} RENAME TO {name}"),
    )
    .await;
    name
}

/// Runs a statement made of the kit's own names.
async fn execute(connection: &mut PgConnection, statement: String) {
    sqlx::query(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}
