//! A whole service inside the test's process.

use std::net::SocketAddr;

use bursar_server::{Definition, Running};
use figment::Figment;
use figment::providers::{Format, Json};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::database::TestDatabase;
use crate::tokens::Tokens;

/// A service that runs until it is stopped or dropped.
pub struct TestService {
    /// Where it answers gRPC; `None` for a process without gRPC.
    pub grpc_address: Option<SocketAddr>,
    /// Where it answers plain HTTP.
    pub http_address: SocketAddr,
    running: Option<Running>,
    shutdown: CancellationToken,
}

impl TestService {
    /// Starts a service on free ports with a test's database and tokens.
    /// `overrides` are variables as the process would have them, such as
    /// `("BURSAR_DEFAULT_CURRENCY", "USD")`. Events go through the test Redis
    /// when `BURSAR_REDIS_EVENTS_URL` is among them; their streams are the test's own.
    pub async fn start(
        definition: Definition,
        database: &TestDatabase,
        tokens: &Tokens,
        overrides: &[(&str, &str)],
    ) -> Self {
        Self::try_start(definition, database, tokens, overrides)
            .await
            .expect("the service starts")
    }

    /// As [`TestService::start`], for tests of refused starts.
    pub async fn try_start(
        definition: Definition,
        database: &TestDatabase,
        tokens: &Tokens,
        overrides: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut settings = Map::new();
        for (name, value) in variables(definition.name, database, tokens, overrides) {
            let key = name.strip_prefix("BURSAR_").unwrap_or(&name).to_lowercase();
            // As with a real environment, a number is a number and the rest is text.
            let value = match value.parse::<u64>() {
                Ok(number) => json!(number),
                Err(_) => json!(value),
            };
            settings.insert(key, value);
        }
        let environment = Figment::from(Json::string(&Value::Object(settings).to_string()));
        let shutdown = CancellationToken::new();
        let running = bursar_server::start(definition, environment, shutdown.clone()).await?;
        Ok(Self {
            grpc_address: running.grpc_address,
            http_address: running.http_address,
            running: Some(running),
            shutdown,
        })
    }

    /// A channel to the service, for the generated clients.
    pub fn channel(&self) -> Channel {
        let address = self.grpc_address.expect("the service answers gRPC");
        Endpoint::from_shared(format!("http://{address}"))
            .expect("an address makes an endpoint")
            .connect_lazy()
    }

    /// The service's gRPC address as configuration takes it.
    pub fn address(&self) -> String {
        let address = self.grpc_address.expect("the service answers gRPC");
        format!("http://{address}")
    }

    /// Stops the service and waits until nothing of it is left.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

/// The environment of a service on free ports with a test's database and tokens:
/// variables with their values, later ones over earlier ones.
pub(crate) fn variables(
    service: &str,
    database: &TestDatabase,
    tokens: &Tokens,
    overrides: &[(&str, &str)],
) -> Vec<(String, String)> {
    let stream_prefix = format!("test:{}:", tokens.name);
    let basic = [
        ("BURSAR_ENVIRONMENT", "development"),
        ("BURSAR_GRPC_ADDRESS", "127.0.0.1:0"),
        ("BURSAR_HTTP_ADDRESS", "127.0.0.1:0"),
        ("BURSAR_DATABASE_URL", &database.application_url),
        ("BURSAR_JWKS_URL", &tokens.jwks_url),
        ("BURSAR_IDENTITY_ADDRESS", &tokens.identity_address),
        ("BURSAR_SERVICE_CLIENT_ID", service),
        ("BURSAR_SERVICE_CLIENT_SECRET", "test-secret"),
        ("BURSAR_EVENTS_STREAM_PREFIX", &stream_prefix),
        ("BURSAR_SHUTDOWN_GRACE_SECONDS", "5"),
    ];
    let all = basic.iter().chain(overrides);
    all.map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Drop for TestService {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
