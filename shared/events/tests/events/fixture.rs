//! A database and a stream prefix of a test's own, and what tests do with them.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use bursar_aip::id::TenantId;
use bursar_contracts::identity::v1::UserRegistered;
use bursar_events::consumer::{Consumer, Handling, Kinds};
use bursar_events::relay::{Relay, Settings};
use bursar_events::{Aggregate, Event, MIGRATOR, Received};
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use redis::{AsyncCommands, AsyncConnectionConfig};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use time::macros::datetime;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const SOURCE: &str = "bursar.test";
pub(crate) const GROUP: &str = "test";
const ROLE: &str = "bursar_events_test";
/// How long a condition may take to become true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn postgres() -> PgConnectOptions {
    std::env::var("BURSAR_TEST_POSTGRES_URL")
        .expect("BURSAR_TEST_POSTGRES_URL names a superuser's database")
        .parse()
        .unwrap()
}

pub(crate) fn redis_url() -> String {
    std::env::var("BURSAR_TEST_REDIS_URL").expect("BURSAR_TEST_REDIS_URL names a Redis")
}

/// What a test works with. Its database and its keys are removed in the end.
pub(crate) struct Fixture {
    /// Connections of the application role.
    pub(crate) pool: PgPool,
    /// A connection pool of the owner.
    pub(crate) owner: PgPool,
    pub(crate) redis: redis::Client,
    pub(crate) prefix: String,
    database: String,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let database = format!("bursar_events_{}", Uuid::now_v7().simple());
        let mut server = PgConnection::connect_with(&postgres()).await.unwrap();
        // Tests start side by side: the role may be there, or just come up.
        let role = format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE}'");
        let made = sqlx::query(AssertSqlSafe(role)).execute(&mut server).await;
        if let Err(error) = made {
            let code = error.as_database_error().and_then(|error| error.code());
            assert!(
                matches!(code.as_deref(), Some("42710" | "23505")),
                "{error}"
            );
        }
        let create = format!("CREATE DATABASE {database}");
        sqlx::query(AssertSqlSafe(create))
            .execute(&mut server)
            .await
            .unwrap();

        let options = postgres().database(&database);
        let owner = pool(options.clone(), 4).await;
        let mut connection = owner.acquire().await.unwrap();
        sqlx::query("SELECT set_config('bursar.application_role', $1, false)")
            .bind(ROLE)
            .execute(&mut *connection)
            .await
            .unwrap();
        MIGRATOR.run(&mut *connection).await.unwrap();
        let effects = format!(
            "CREATE TABLE effects (
                 at bigint GENERATED ALWAYS AS IDENTITY,
                 aggregate_id uuid NOT NULL,
                 version bigint NOT NULL
             );
             GRANT SELECT, INSERT ON effects TO {ROLE}"
        );
        sqlx::raw_sql(AssertSqlSafe(effects))
            .execute(&mut *connection)
            .await
            .unwrap();
        drop(connection);
        Self {
            pool: pool(options.username(ROLE).password(ROLE), 20).await,
            owner,
            redis: redis::Client::open(redis_url()).unwrap(),
            prefix: format!("test:{database}:"),
            database,
        }
    }

    /// Where Redis is, as host and port.
    pub(crate) fn redis_address(&self) -> String {
        let redis::ConnectionAddr::Tcp(host, port) = self.redis.get_connection_info().addr() else {
            panic!("BURSAR_TEST_REDIS_URL is a TCP address");
        };
        format!("{host}:{port}")
    }

    pub(crate) fn stream(&self) -> String {
        format!("{}{SOURCE}", self.prefix)
    }

    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        connect(&self.redis).await
    }

    /// Settings for tests: short leases, so that a crash is over soon.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            stream_prefix: self.prefix.clone(),
            lease: Duration::from_secs(2),
            housekeeping_interval: Duration::from_millis(100),
            ..Settings::default()
        }
    }

    pub(crate) fn relay(&self) -> Running {
        self.relay_with(self.redis.clone(), self.settings())
    }

    pub(crate) fn relay_with(&self, redis: redis::Client, settings: Settings) -> Running {
        let relay = Relay::new(self.pool.clone(), redis, SOURCE).with_settings(settings);
        Running::start(|shutdown| relay.run(shutdown))
    }

    /// A consumer for tests: quick to try again and to take over.
    pub(crate) fn consumer(&self) -> Consumer {
        Consumer {
            max_attempts: 3,
            first_wait: Duration::from_millis(20),
            longest_wait: Duration::from_millis(50),
            lease: Duration::from_secs(2),
            stream_prefix: self.prefix.clone(),
            ..Consumer::new(GROUP, [SOURCE], Kinds::All)
        }
    }

    pub(crate) fn consume<H>(&self, consumer: Consumer, handler: H) -> Running
    where
        H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync + 'static,
    {
        self.consume_over(self.redis.clone(), consumer, handler)
    }

    pub(crate) fn consume_over<H>(
        &self,
        redis: redis::Client,
        consumer: Consumer,
        handler: H,
    ) -> Running
    where
        H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync + 'static,
    {
        let pool = self.own_pool();
        Running::start(|shutdown| consumer.run(pool, redis, handler, shutdown))
    }

    pub(crate) fn consume_together<H>(&self, consumer: Consumer, handler: H) -> Running
    where
        H: for<'a> Fn(&'a mut PgConnection, &'a [&'a Received]) -> Handling<'a>
            + Send
            + Sync
            + 'static,
    {
        let (pool, redis) = (self.own_pool(), self.redis.clone());
        Running::start(|shutdown| consumer.run_together(pool, redis, handler, shutdown))
    }

    /// Connections of a consumer's own, which go with it when it is killed: in a
    /// shared pool they would outlive it in the middle of a transaction.
    fn own_pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(8)
            .connect_lazy_with(self.pool.connect_options().as_ref().clone())
    }

    pub(crate) async fn append(&self, events: &[Event]) {
        let mut transaction = self.pool.begin().await.unwrap();
        bursar_events::append(&mut transaction, events)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }

    /// All entries of the stream, as aggregate and version.
    pub(crate) async fn published(&self) -> Vec<(Uuid, i64)> {
        let reply: StreamRangeReply = self.redis().await.xrange_all(self.stream()).await.unwrap();
        reply
            .ids
            .iter()
            .map(|entry| {
                let event = Received::of_entry(entry).unwrap();
                (event.aggregate_id, event.version)
            })
            .collect()
    }

    /// Waits until nothing is unpublished.
    pub(crate) async fn until_published(&self) {
        eventually("the outbox is empty", || async {
            (self.stats().await.unpublished_events == 0).then_some(())
        })
        .await;
    }

    /// What handlers did, in order, as aggregate and version.
    pub(crate) async fn effects(&self) -> Vec<(Uuid, i64)> {
        sqlx::query_as("SELECT aggregate_id, version FROM effects ORDER BY at")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until handlers did as much.
    pub(crate) async fn until_effects(&self, count: usize) -> Vec<(Uuid, i64)> {
        eventually("the effects are there", || async {
            let effects = self.effects().await;
            (effects.len() >= count).then_some(effects)
        })
        .await
    }

    /// Waits until a group has acknowledged everything.
    pub(crate) async fn until_acknowledged(&self, group: &str) {
        eventually("everything is acknowledged", || async {
            let mut redis = self.redis().await;
            let reply: redis::streams::StreamInfoGroupsReply =
                redis.xinfo_groups(self.stream()).await.ok()?;
            let group = reply.groups.into_iter().find(|found| found.name == group)?;
            (group.pending == 0 && group.lag == Some(0)).then_some(())
        })
        .await;
    }

    pub(crate) async fn stats(&self) -> bursar_events::Stats {
        let mut connection = self.pool.acquire().await.unwrap();
        bursar_events::stats(&mut connection).await.unwrap()
    }
}

/// Drops what the test made, also when it failed.
impl Drop for Fixture {
    fn drop(&mut self) {
        let (database, prefix) = (self.database.clone(), self.prefix.clone());
        let clean = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut server = PgConnection::connect_with(&postgres()).await.unwrap();
                let drop = format!("DROP DATABASE {database} WITH (FORCE)");
                sqlx::query(AssertSqlSafe(drop))
                    .execute(&mut server)
                    .await
                    .unwrap();
                let client = redis::Client::open(redis_url()).unwrap();
                let mut redis = connect(&client).await;
                let _: () = redis.del(format!("{prefix}{SOURCE}")).await.unwrap();
            });
        };
        // In a thread of its own, because a runtime is running in this one.
        let cleaned = std::thread::spawn(clean).join();
        assert!(cleaned.is_ok() || std::thread::panicking());
    }
}

/// Connects with more patience than the library has.
async fn connect(client: &redis::Client) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap()
}

async fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .connect_with(options)
        .await
        .unwrap()
}

/// A relay or a consumer that runs.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start<F>(run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(shutdown.clone()));
        Self { shutdown, task }
    }

    /// Stops it as a service does.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// Ends it where it stands, as a crash does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Waits until a condition holds; fails the test when it never does.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    condition: impl Fn() -> F,
) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < give_up, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn aggregate(id: Uuid) -> Aggregate {
    Aggregate {
        kind: "test",
        id,
        subject: format!("tst_{id}"),
    }
}

/// An event of the kind `test.happened`.
pub(crate) fn event(id: Uuid, version: i64) -> Event {
    event_of("test.happened", id, version)
}

pub(crate) fn event_of(kind: &'static str, id: Uuid, version: i64) -> Event {
    let data = UserRegistered {
        user_id: format!("{id}/{version}"),
        ..UserRegistered::default()
    };
    Event::new(
        kind,
        aggregate(id),
        version,
        &data,
        "service:test".to_owned(),
        TenantId::default(),
        datetime!(2026-01-02 03:04:05.678901 UTC),
    )
}

/// Notes the event as an effect. The handler of most tests.
pub(crate) fn record<'a>(connection: &'a mut PgConnection, event: &'a Received) -> Handling<'a> {
    Box::pin(async move {
        sqlx::query("INSERT INTO effects (aggregate_id, version) VALUES ($1, $2)")
            .bind(event.aggregate_id)
            .bind(event.version)
            .execute(connection)
            .await?;
        Ok(())
    })
}

/// Checks that the first appearances of each aggregate are 1, 2, 3 and so on
/// up to `last`, and returns how many appeared again.
#[track_caller]
pub(crate) fn assert_in_order(events: &[(Uuid, i64)], last: &HashMap<Uuid, i64>) -> usize {
    let mut seen: HashMap<Uuid, i64> = HashMap::new();
    let mut again = 0;
    for &(id, version) in events {
        let seen = seen.entry(id).or_default();
        if version <= *seen {
            again += 1;
        } else {
            assert_eq!(version, *seen + 1, "{id} goes from {seen} to {version}");
            *seen = version;
        }
    }
    assert_eq!(&seen, last);
    again
}
