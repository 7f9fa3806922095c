//! Starts a service and ends it so that nothing in flight is cut off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use bursar_auth::{Authorizer, KeySource, Verifier};
use bursar_contracts::operations::v1::operations_service_server::OperationsServiceServer;
use bursar_contracts::policy;
use figment::Figment;
use secrecy::ExposeSecret;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::config::{Config, Environment};
use crate::definition::{Assembly, Definition, Job, Start};
use crate::layers::{self, Stack};
use crate::operations::Operations;
use crate::outbound::ServiceTokens;
use crate::readiness::{Readiness, is_ready};
use crate::reads::Reads;
use crate::{database, http, telemetry};

/// How many calls one connection may have under way.
const MAX_STREAMS: u32 = 1024;
/// How long handled events are remembered, how often the older ones are forgotten,
/// and how many at once.
const INBOX_KEPT: time::Duration = time::Duration::days(30);
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(3600);
const INBOX_BATCH: u32 = 1000;
/// How often the gRPC health answer is brought up to date.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);

/// A service that runs.
pub struct Running {
    /// Where it answers gRPC; `None` for a process without gRPC.
    pub grpc_address: Option<SocketAddr>,
    /// Where it answers plain HTTP.
    pub http_address: SocketAddr,
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    grace: Duration,
    pool: PgPool,
    reads: Reads,
}

impl Running {
    /// Waits until the service is told to end, or some part of it ends by
    /// itself, which is an error. Then finishes what is in flight.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let first = tokio::select! {
            () = self.shutdown.cancelled() => Ok(()),
            ended = self.tasks.join_next() => match ended {
                Some(Ok(Ok(()))) if self.shutdown.is_cancelled() => Ok(()),
                Some(Ok(Ok(()))) => Err(anyhow::anyhow!("a part of the service ended by itself")),
                Some(Ok(Err(error))) => Err(error),
                Some(Err(panic)) => Err(panic.into()),
                None => Ok(()),
            },
        };
        self.stop().await;
        first
    }

    /// Ends the service: takes no new calls, finishes those in flight for as
    /// long as the grace period lasts.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let finished = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(error)) = ended {
                    tracing::warn!(error = format!("{error:#}"), "a part ended with an error");
                }
            }
        };
        if tokio::time::timeout(self.grace, finished).await.is_err() {
            tracing::warn!("the grace period passed; what is left is cut off");
            self.tasks.shutdown().await;
        }
        self.reads.close().await;
        self.pool.close().await;
    }
}

/// Starts a service from its environment.
pub async fn start(
    definition: Definition,
    environment: Figment,
    shutdown: CancellationToken,
) -> anyhow::Result<Running> {
    let config: Config = environment.extract().context("configuration")?;
    if let Some(secret) = &config.service_client_secret {
        config.require_strong("BURSAR_SERVICE_CLIENT_SECRET", secret)?;
    }
    if let Some(owner_url) = &config.database_owner_url {
        database::migrate(owner_url, &config.database_url, &definition.migrations).await?;
    }
    let pool = database::connect(
        &config.database_url,
        config.database_max_connections,
        definition.name,
    )
    .await?;
    database::require_durable(&pool).await?;
    database::require_migrated(&pool, &definition.migrations).await?;
    let replica = match &config.database_replica_url {
        Some(url) => {
            let connections = config.database_max_connections;
            Some(database::replica(url, connections, definition.name)?)
        }
        None => None,
    };

    let start = Start {
        name: definition.name,
        verifier: config.jwks_url.as_ref().map(|url| {
            Verifier::new(
                KeySource::Url(url.clone()),
                &config.token_issuer,
                &config.token_audience,
            )
        }),
        tokens: service_tokens(&config)?,
        config,
        environment,
        reads: Reads::new(pool.clone(), replica),
        pool,
        shutdown,
    };
    let assembly = (definition.assemble)(start.clone())
        .await
        .with_context(|| format!("putting {} together", definition.name))?;
    run(&definition, start, assembly).await
}

fn service_tokens(config: &Config) -> anyhow::Result<Option<ServiceTokens>> {
    let (Some(address), Some(id), Some(secret)) = (
        &config.identity_address,
        &config.service_client_id,
        &config.service_client_secret,
    ) else {
        return Ok(None);
    };
    ServiceTokens::new(address, id.clone(), secret.clone()).map(Some)
}

async fn run(definition: &Definition, start: Start, assembly: Assembly) -> anyhow::Result<Running> {
    let redis = match &start.config.redis_events_url {
        Some(url) => Some(redis::Client::open(url.expose_secret())?),
        None => None,
    };
    let readiness = Readiness::new(start.pool.clone(), redis.clone(), start.verifier.clone());
    let mut tasks = JoinSet::new();

    let grpc_address = match assembly.routes {
        Some(routes) => Some(serve_grpc(definition, &start, &readiness, routes, &mut tasks).await?),
        None => None,
    };
    let http_address = serve_http(&start, &readiness, assembly.http, &mut tasks).await?;
    for job in assembly.jobs {
        spawn_job(job, &start.shutdown, &mut tasks);
    }
    if let Some(client) = redis {
        spawn_job(housekeeping(&start), &start.shutdown, &mut tasks);
        spawn_job(
            relay(definition.name, &start, client),
            &start.shutdown,
            &mut tasks,
        );
    }
    tracing::info!(
        service = definition.name,
        version = definition.version,
        grpc = grpc_address.map(tracing::field::display),
        http = %http_address,
        "ready"
    );
    Ok(Running {
        grpc_address,
        http_address,
        shutdown: start.shutdown,
        tasks,
        grace: Duration::from_secs(start.config.shutdown_grace_seconds),
        pool: start.pool,
        reads: start.reads,
    })
}

/// Forgets which events were handled once no duplicate of them can come any more.
fn housekeeping(start: &Start) -> Job {
    let (pool, shutdown) = (start.pool.clone(), start.shutdown.clone());
    Job::new("housekeeping", async move {
        loop {
            if let Err(error) = delete_old_inbox_rows(&pool).await {
                tracing::warn!(%error, "the inbox could not be cleaned up");
            }
            tokio::select! {
                () = tokio::time::sleep(HOUSEKEEPING_INTERVAL) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    })
}

async fn delete_old_inbox_rows(pool: &PgPool) -> Result<(), sqlx::Error> {
    let before = crate::now() - INBOX_KEPT;
    let mut connection = pool.acquire().await?;
    while bursar_events::inbox::delete_old(&mut connection, before, INBOX_BATCH).await? > 0 {}
    Ok(())
}

fn relay(name: &str, start: &Start, client: redis::Client) -> Job {
    let source = format!("bursar.{name}");
    let settings = bursar_events::relay::Settings {
        stream_prefix: start.config.events_stream_prefix.clone(),
        ..bursar_events::relay::Settings::default()
    };
    let relay = bursar_events::relay::Relay::new(start.pool.clone(), client, source)
        .with_settings(settings);
    let shutdown = start.shutdown.clone();
    Job::new("relay", async move {
        relay.run(shutdown).await;
        Ok(())
    })
}

async fn serve_grpc(
    definition: &Definition,
    start: &Start,
    readiness: &Readiness,
    routes: Routes,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<SocketAddr> {
    let address = start
        .config
        .grpc_address
        .context("BURSAR_GRPC_ADDRESS is not set")?;
    let verifier = start
        .verifier
        .clone()
        .context("BURSAR_JWKS_URL is not set")?;
    let operations = Operations {
        name: definition.name,
        version: definition.version,
        started: Instant::now(),
        pool: start.pool.clone(),
        max_connections: start.config.database_max_connections,
        readiness: readiness.clone(),
        shutdown: start.shutdown.clone(),
    };
    let stack = Stack {
        authorizer: Authorizer::new(verifier),
        permits: Arc::new(Semaphore::new(start.config.max_concurrent_requests)),
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    let mut routes = routes
        .add_service(OperationsServiceServer::new(operations))
        .add_service(health);
    if start.config.environment == Environment::Development {
        let (v1, v1alpha) = reflection()?;
        routes = routes.add_service(v1).add_service(v1alpha);
    }
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening for gRPC on {address}"))?;
    let bound = listener.local_addr()?;
    tasks.spawn(report_health(
        reporter,
        readiness.clone(),
        start.shutdown.clone(),
    ));
    let shutdown = start.shutdown.clone();
    let routes = layers::wrap(routes, &stack);
    // The server's own setting reaches only sockets that it opens itself. Without
    // it an answer's last frame waits for the client's delayed acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tasks.spawn(async move {
        Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
            .await
            .context("serving gRPC")
    });
    Ok(bound)
}

/// The whole contract's reflection, whichever service is asked: behind the
/// gateway the services look like one. Internal services are not listed.
fn reflection() -> anyhow::Result<(
    tonic_reflection::server::v1::ServerReflectionServer<
        impl tonic_reflection::server::v1::ServerReflection,
    >,
    tonic_reflection::server::v1alpha::ServerReflectionServer<
        impl tonic_reflection::server::v1alpha::ServerReflection,
    >,
)> {
    let builder = || {
        let start = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(policy::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        public_services()
            .into_iter()
            .fold(start, |builder, name| builder.with_service_name(name))
            .with_service_name("grpc.health.v1.Health")
    };
    Ok((builder().build_v1()?, builder().build_v1alpha()?))
}

/// The services of which any RPC is not internal.
fn public_services() -> Vec<String> {
    let is_public = |method: prost_reflect::MethodDescriptor| {
        policy::of(&policy::path_of(&method))
            .is_some_and(|policy| !matches!(policy.access, Some(policy::Access::Internal(_))))
    };
    policy::pool()
        .services()
        .filter(|service| service.methods().any(is_public))
        .map(|service| service.full_name().to_owned())
        .collect()
}

async fn report_health(
    reporter: tonic_health::server::HealthReporter,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    use tonic_health::ServingStatus;
    loop {
        let ready = is_ready(&readiness.check().await);
        let status = if ready && !shutdown.is_cancelled() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        reporter.set_service_status("", status).await;
        tokio::select! {
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
            () = shutdown.cancelled() => {
                reporter.set_service_status("", ServingStatus::NotServing).await;
                return Ok(());
            }
        }
    }
}

async fn serve_http(
    start: &Start,
    readiness: &Readiness,
    own: Router,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<SocketAddr> {
    let address = start.config.http_address;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening for HTTP on {address}"))?;
    let bound = listener.local_addr()?;
    let router = http::router(
        start.name,
        own,
        readiness.clone(),
        telemetry::metrics()?,
        start.shutdown.clone(),
    );
    let shutdown = start.shutdown.clone();
    tasks.spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
            .context("serving HTTP")
    });
    Ok(bound)
}

fn spawn_job(job: Job, shutdown: &CancellationToken, tasks: &mut JoinSet<anyhow::Result<()>>) {
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        let ended = job.future.await;
        if shutdown.is_cancelled() {
            return ended;
        }
        match ended {
            Ok(()) => Err(anyhow::anyhow!("the job {} ended by itself", job.name)),
            Err(error) => Err(error.context(format!("the job {} failed", job.name))),
        }
    });
}
