//! The database around a service's own SQL: pools, migrations, the settings
//! that money needs, and what an error means to the caller.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Row, Transaction};
use tonic::{Code, Status};

use crate::definition::Migrations;
use crate::reads::REPLICA_ACQUIRE_TIMEOUT;

/// How long a call waits for a connection before it is refused. Long enough for
/// a burst as large as the bound on concurrent calls to pass through the pool,
/// short enough to leave a caller's deadline room for another try.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a start waits for its database.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const START_RETRY: Duration = Duration::from_millis(250);
/// The settings of every session, so that no client that went away holds a lock for long.
const SESSION_SETTINGS: [(&str, &str); 6] = [
    ("idle_in_transaction_session_timeout", "10s"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("client_connection_check_interval", "1s"),
    ("tcp_keepalives_idle", "10"),
    ("jit", "off"),
];
/// Settings whose `off` would let acknowledged money be lost.
const DURABLE_SETTINGS: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];

/// Opens the pool of the application role, once the database answers.
pub(crate) async fn connect(url: &SecretString, max: u32, name: &str) -> anyhow::Result<PgPool> {
    let options = options(url, name).context("BURSAR_DATABASE_URL is not a PostgreSQL address")?;
    let pool = PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(true)
        .connect_lazy_with(options);
    wait_until_up(&pool).await?;
    Ok(pool)
}

/// The pool of a replica, which need not answer: lists do without it then. Its
/// sessions cannot write, whatever it turns out to be.
pub(crate) fn replica(url: &SecretString, max: u32, name: &str) -> anyhow::Result<PgPool> {
    let options =
        options(url, name).context("BURSAR_DATABASE_REPLICA_URL is not a PostgreSQL address")?;
    Ok(PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(REPLICA_ACQUIRE_TIMEOUT)
        .test_before_acquire(true)
        .connect_lazy_with(options.options([("default_transaction_read_only", "on")])))
}

/// Settings of sessions whose statements reach every row by its key.
const BY_KEY: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// A pool beside `pool`, for statements that reach every row by its key, whatever the
/// planner thinks of tables that were small when it last looked: a table that grows
/// by thousands of rows a second is read from end to end before its statistics say
/// that it should not be. It has `max` connections of its own, so whoever uses it does
/// not wait for anybody else's.
pub fn by_key(pool: &PgPool, max: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(true)
        .connect_lazy_with(pool.connect_options().as_ref().clone().options(BY_KEY))
}

fn options(url: &SecretString, name: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options: PgConnectOptions = url.expose_secret().parse()?;
    Ok(options
        .application_name(&format!("bursar-{name}"))
        .options(SESSION_SETTINGS))
}

async fn wait_until_up(pool: &PgPool) -> anyhow::Result<()> {
    let give_up = tokio::time::Instant::now() + START_TIMEOUT;
    loop {
        match sqlx::query("SELECT 1").execute(pool).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() < give_up => {
                tracing::warn!(%error, "the database does not answer yet");
                tokio::time::sleep(START_RETRY).await;
            }
            Err(error) => return Err(error).context("the database does not answer"),
        }
    }
}

/// Refuses a database whose settings could lose what it acknowledged.
pub(crate) async fn require_durable(pool: &PgPool) -> anyhow::Result<()> {
    for setting in DURABLE_SETTINGS {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(pool)
            .await?;
        ensure!(
            value != "off",
            "PostgreSQL runs with {setting} = off; acknowledged money could be lost"
        );
    }
    Ok(())
}

/// Applies migrations as the owner and lets them grant rights to the
/// application role, which is the user of `application_url`. Run again it
/// changes nothing; concurrent runs wait for each other.
pub async fn migrate(
    owner_url: &SecretString,
    application_url: &SecretString,
    migrations: &[Migrations],
) -> anyhow::Result<()> {
    let application: PgConnectOptions = application_url.expose_secret().parse()?;
    let owner: PgConnectOptions = owner_url.expose_secret().parse()?;
    let mut connection = connect_owner(&owner).await?;
    sqlx::query("SELECT set_config('bursar.application_role', $1, false)")
        .bind(application.get_username())
        .execute(&mut connection)
        .await?;
    for set in migrations {
        let mut migrator = sqlx::migrate::Migrator {
            migrations: set.migrator.migrations.clone(),
            ..sqlx::migrate::Migrator::DEFAULT
        };
        migrator.dangerous_set_table_name(format!("_migrations_{}", set.name));
        migrator
            .run(&mut connection)
            .await
            .with_context(|| format!("migrations of {}", set.name))?;
        // The application looks at start whether it is migrated.
        let grant: String = sqlx::query_scalar(
            "SELECT format('GRANT SELECT ON %I TO %I', $1::text, current_setting('bursar.application_role'))",
        )
        .bind(format!("_migrations_{}", set.name))
        .fetch_one(&mut connection)
        .await?;
        sqlx::query(sqlx::AssertSqlSafe(grant))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}

async fn connect_owner(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let give_up = tokio::time::Instant::now() + START_TIMEOUT;
    loop {
        match PgConnection::connect_with(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) if tokio::time::Instant::now() < give_up => {
                tracing::warn!(%error, "the database does not answer yet");
                tokio::time::sleep(START_RETRY).await;
            }
            Err(error) => return Err(error).context("the database does not answer"),
        }
    }
}

/// Refuses to go on while a migration is missing, for processes that do not migrate.
pub(crate) async fn require_migrated(pool: &PgPool, sets: &[Migrations]) -> anyhow::Result<()> {
    for set in sets {
        let table = format!("_migrations_{}", set.name);
        let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(&table)
            .fetch_one(pool)
            .await?;
        let hint = "run the `migrate` command, or set BURSAR_DATABASE_OWNER_URL";
        ensure!(
            exists,
            "the migrations of {} are not applied; {hint}",
            set.name
        );
        // The table's name is made of our own crate names only.
        let text = format!("SELECT version FROM {table} WHERE success");
        let rows = sqlx::query(sqlx::AssertSqlSafe(text))
            .fetch_all(pool)
            .await?;
        let applied: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        for migration in set.migrator.iter() {
            ensure!(
                applied.contains(&migration.version),
                "migration {} of {} is not applied; {hint}",
                migration.version,
                set.name
            );
        }
    }
    Ok(())
}

/// Opens a transaction. Call it inside [`crate::detached`]: a future dropped
/// while it opens a transaction would give the connection back in the middle of it.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    pool.begin().await
}

/// What an unexpected database error is to the caller: UNAVAILABLE while the
/// database cannot be reached or has no connection free, INTERNAL otherwise.
/// Constraints that a service knows are mapped by [`constraint`] before this.
pub fn status(error: &sqlx::Error) -> Status {
    if is_unavailable(error) || is_retryable(error) {
        tracing::warn!(%error, "the database cannot serve the call");
        return StatusBuilder::new(
            Code::Unavailable,
            ErrorReason::Unavailable,
            "the service's database cannot serve the call now",
        )
        .retry_after(Duration::from_secs(1))
        .into();
    }
    let error: &(dyn std::error::Error + 'static) = error;
    bursar_status::internal(ErrorReason::Internal, error)
}

/// True while the database cannot be reached, is starting or stopping, has no
/// connection free, or does not come to a call in time for locks or load.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            // 25P03: the server ended a transaction whose process stood still; 55P03 and
            // 57014: the time for a lock or a statement was over.
            let has_class = code.starts_with("57P") || code.starts_with("08");
            has_class || matches!(&*code, "53300" | "25P03" | "55P03" | "57014")
        }),
        _ => false,
    }
}

/// True for a serialization failure or a deadlock: the transaction as a whole may be tried again.
pub fn is_retryable(error: &sqlx::Error) -> bool {
    bursar_events::inbox::is_conflict(error)
}

/// The name of the constraint that an error broke.
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error
        .as_database_error()
        .and_then(|database| database.constraint())
}
