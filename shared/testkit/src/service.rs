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
        let mut set = |name: &str, value: Value| {
            settings.insert(name.to_owned(), value);
        };
        set("environment", json!("development"));
        set("grpc_address", json!("127.0.0.1:0"));
        set("http_address", json!("127.0.0.1:0"));
        set("database_url", json!(database.application_url));
        set("jwks_url", json!(tokens.jwks_url));
        set("identity_address", json!(tokens.identity_address));
        set("service_client_id", json!(definition.name));
        set("service_client_secret", json!("test-secret"));
        set(
            "events_stream_prefix",
            json!(format!("test:{}:", tokens.name)),
        );
        set("shutdown_grace_seconds", json!(5));
        for (name, value) in overrides {
            let key = name.strip_prefix("BURSAR_").unwrap_or(name).to_lowercase();
            // As with a real environment, a number is a number and the rest is text.
            let value = match value.parse::<u64>() {
                Ok(number) => json!(number),
                Err(_) => json!(value),
            };
            set(&key, value);
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

impl Drop for TestService {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
