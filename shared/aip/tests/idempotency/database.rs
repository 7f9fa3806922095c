//! A database for one test.

use std::env;
use std::time::Duration;

use bursar_aip::MIGRATOR;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use tokio::time::timeout;
use uuid::Uuid;

/// Connections of a test's pool. Fifty callers share them, as in a service.
const CONNECTIONS: u32 = 12;

/// How long a test waits for what must happen before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A migrated database of its own, seen with the application role's rights.
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    server: PgConnectOptions,
    name: String,
}

impl Database {
    /// Makes the database on the server of `BURSAR_TEST_POSTGRES_URL`, whose
    /// user must be allowed to make databases and roles.
    pub(crate) async fn create() -> Self {
        let url = env::var("BURSAR_TEST_POSTGRES_URL")
            .expect("BURSAR_TEST_POSTGRES_URL names a PostgreSQL server; `make test` sets it");
        let server: PgConnectOptions = url.parse().expect("the variable is a PostgreSQL URL");
        let name = format!("test_aip_{}", Uuid::now_v7().simple());

        // The names are letters and digits, made above.
        let mut admin = PgConnection::connect_with(&server)
            .await
            .expect("the server answers");
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .expect("a new name");
        admin
            .execute(AssertSqlSafe(format!("CREATE ROLE {name}")))
            .await
            .expect("a new name");

        let options = server
            .clone()
            .database(&name)
            .options([("bursar.application_role", name.as_str())]);
        let mut owner = PgConnection::connect_with(&options)
            .await
            .expect("just made");
        MIGRATOR
            .run(&mut owner)
            .await
            .expect("the migrations apply");
        MIGRATOR
            .run(&mut owner)
            .await
            .expect("nothing is left to apply");

        let role = name.clone();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .after_connect(move |conn, _| {
                let set_role = AssertSqlSafe(format!("SET ROLE {role}"));
                Box::pin(async move { conn.execute(set_role).await.map(|_| ()) })
            })
            .connect_with(options)
            .await
            .expect("just made");
        Self { pool, server, name }
    }

    /// Waits until a statement of this database waits for another transaction.
    pub(crate) async fn until_someone_waits(&self) {
        timeout(PATIENCE, self.watch_for_waits())
            .await
            .expect("a statement waits for another transaction");
    }

    async fn watch_for_waits(&self) {
        let mut admin = PgConnection::connect_with(&self.server)
            .await
            .expect("the server answers");
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = $1 AND wait_event_type = 'Lock'",
            )
            .bind(&self.name)
            .fetch_one(&mut admin)
            .await
            .expect("the server answers");
            if waiting > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Removes what `create` made. A failed test leaves it for a look.
    pub(crate) async fn remove(self) {
        self.pool.close().await;
        let name = &self.name;
        let mut admin = PgConnection::connect_with(&self.server)
            .await
            .expect("the server answers");
        let drop_database = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
        admin
            .execute(drop_database)
            .await
            .expect("no one else uses it");
        let drop_role = AssertSqlSafe(format!("DROP ROLE {name}"));
        admin
            .execute(drop_role)
            .await
            .expect("its rights went with the database");
    }
}
