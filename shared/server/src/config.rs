//! What every service reads from its environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use figment::Figment;
use figment::providers::{Env, Serialized};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// On an engineer's machine: reflection is on, secrets may be short.
    Development,
    /// Anywhere else.
    Production,
}

/// The configuration that all services share. Each field is read from the
/// variable `BURSAR_` and its name in upper case.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Where the process runs; production unless it says otherwise.
    #[serde(default = "production")]
    pub environment: Environment,
    /// The address for gRPC; none for a process without gRPC.
    pub grpc_address: Option<SocketAddr>,
    /// The address for health, metrics and what else is plain HTTP.
    pub http_address: SocketAddr,
    /// The database, as the application role.
    pub database_url: SecretString,
    /// The database, as the role that owns its tables; migrations run at start when it is set.
    pub database_owner_url: Option<SecretString>,
    /// A replica of the database for lists, which may be a little behind; lists
    /// come from the database itself without one.
    pub database_replica_url: Option<SecretString>,
    /// How many connections to the database there may be.
    #[serde(default = "default_connections")]
    pub database_max_connections: u32,
    /// The Redis for events; without it nothing is published or consumed.
    pub redis_events_url: Option<SecretString>,
    /// The Redis for display caches, which may evict; without it only memory caches.
    pub redis_cache_url: Option<SecretString>,
    /// The Redis for counters, codes and revocations; it must not evict.
    pub redis_state_url: Option<SecretString>,
    /// The Redis for sessions; it must not evict.
    pub redis_sessions_url: Option<SecretString>,
    /// What the names of event streams begin with.
    #[serde(default = "default_stream_prefix")]
    pub events_stream_prefix: String,
    /// The address of identity's key set.
    pub jwks_url: Option<String>,
    /// Who issues access tokens.
    #[serde(default = "default_issuer")]
    pub token_issuer: String,
    /// Whom access tokens are for.
    #[serde(default = "default_audience")]
    pub token_audience: String,
    /// The gRPC address of identity, such as `http://identity:8081`.
    pub identity_address: Option<String>,
    /// The gRPC address of wallet.
    pub wallet_address: Option<String>,
    /// The gRPC address of transaction.
    pub transaction_address: Option<String>,
    /// The gRPC address of admin.
    pub admin_address: Option<String>,
    /// The client id by which the service gets its own tokens.
    pub service_client_id: Option<String>,
    /// The client secret by which the service gets its own tokens.
    pub service_client_secret: Option<SecretString>,
    /// How many calls may run at once before further ones are refused.
    #[serde(default = "default_concurrency")]
    pub max_concurrent_requests: usize,
    /// How long calls in flight may take at shutdown, in seconds.
    #[serde(default = "default_grace")]
    pub shutdown_grace_seconds: u64,
}

fn production() -> Environment {
    Environment::Production
}
fn default_stream_prefix() -> String {
    "bursar:events:".to_owned()
}
fn default_connections() -> u32 {
    16
}
fn default_issuer() -> String {
    bursar_auth::DEFAULT_ISSUER.to_owned()
}
fn default_audience() -> String {
    bursar_auth::DEFAULT_AUDIENCE.to_owned()
}
fn default_concurrency() -> usize {
    1024
}
fn default_grace() -> u64 {
    25
}

/// How the names of variables end that hold text.
const TEXT_SUFFIXES: [&str; 8] = [
    "_ACCOUNTS",
    "_EMAIL",
    "_ID",
    "_KEY",
    "_PASSWORD",
    "_SECRET",
    "_TOKEN",
    "_URL",
];
/// The shortest secret that is taken outside development, in characters.
const MIN_SECRET_LEN: usize = 16;
/// Secrets that documentation and examples are full of.
const KNOWN_SECRETS: [&str; 8] = [
    "secret",
    "changeme",
    "password",
    "default",
    "example",
    "admin",
    "test",
    "development",
];

impl Config {
    /// The process's environment as a source of settings. Variables that hold
    /// text stay text, also when it looks like a number.
    pub fn environment() -> Figment {
        let texts: BTreeMap<String, String> = std::env::vars()
            .filter_map(|(name, value)| {
                let key = name.strip_prefix("BURSAR_")?;
                let is_text = TEXT_SUFFIXES.iter().any(|suffix| key.ends_with(suffix));
                is_text.then(|| (key.to_lowercase(), value))
            })
            .collect();
        Figment::from(Env::prefixed("BURSAR_")).merge(Serialized::defaults(texts))
    }

    /// Refuses a secret that anybody could guess, outside development.
    /// `name` is the variable that holds it.
    pub fn require_strong(&self, name: &str, secret: &SecretString) -> anyhow::Result<()> {
        if self.environment == Environment::Development {
            return Ok(());
        }
        let text = secret.expose_secret().to_lowercase();
        let is_known = KNOWN_SECRETS.iter().any(|known| text.starts_with(known));
        let is_uniform = text.bytes().all(|byte| Some(byte) == text.bytes().next());
        anyhow::ensure!(
            text.len() >= MIN_SECRET_LEN && !is_known && !is_uniform,
            "{name} holds a default or guessable secret; outside development it must have at \
             least {MIN_SECRET_LEN} characters of its own"
        );
        Ok(())
    }
}
