//! Users, credentials, sessions and tokens.
//!
//! Identity is where a person or a service proves who it is and gets a token
//! that says so to everybody else. It calls no other service. What it promises:
//!
//! - A password is kept as an argon2id hash and nothing else; a wrong one and
//!   an unknown user are told apart neither by answer nor by time.
//! - A refresh token works once. A session has one live token at any time, and
//!   ends when a used one comes back ([`domain::refresh`]).
//! - Access tokens are signed by keys that are published before they sign and
//!   as long as anything they signed is good ([`domain::signing_key`]).
//! - What happened to users and sessions is told by events, in the transaction
//!   of what happened, without personal data.
//!
//! It deliberately does not check access tokens against their sessions for
//! other services: those trust the signature for its 15 minutes.

mod bootstrap;
pub mod config;
pub mod domain;
pub mod error;
mod event;
pub mod hasher;
mod jobs;
pub mod jwks;
pub mod keyring;
mod rpc;
pub mod secret;
mod store;
pub mod token;

use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Context as _;
use bursar_contracts::identity::v1::identity_service_server::IdentityServiceServer;
use bursar_server::{Assembly, Definition, Invariant, Job, Migrations, Start};
use tonic::service::Routes;

use crate::config::Config;
use crate::hasher::Hasher;
use crate::jobs::signing_keys::KeyRotation;
use crate::keyring::Keyring;
use crate::rpc::{Identity, Shared};
use crate::token::Issuer;

/// The migrations of this crate.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The rules that `bursar-identity verify` checks.
const INVARIANTS: [Invariant; 3] = [
    Invariant {
        number: 8,
        name: "event versions run 1..n without a gap",
        sql: bursar_events::VERSION_GAPS_SQL,
    },
    Invariant {
        number: 10,
        name: "no event waits longer than 30 s to be published",
        sql: bursar_events::UNPUBLISHED_EVENTS_SQL,
    },
    Invariant {
        number: 19,
        name: "a session has at most one live refresh token",
        sql: "SELECT session_id, count(*) AS live
              FROM refresh_tokens
              WHERE used_at IS NULL AND superseded_at IS NULL
              GROUP BY session_id
              HAVING count(*) > 1",
    },
];

/// The service, for the server and for tests.
pub fn definition() -> Definition {
    Definition {
        name: "identity",
        version: env!("CARGO_PKG_VERSION"),
        migrations: migrations(),
        invariants: INVARIANTS.to_vec(),
        assemble: |start| Box::pin(assemble(start)),
    }
}

/// All migrations of the database, in the order in which they are applied.
pub fn migrations() -> Vec<Migrations> {
    vec![
        Migrations {
            name: "aip",
            migrator: &bursar_aip::MIGRATOR,
        },
        Migrations {
            name: "events",
            migrator: &bursar_events::MIGRATOR,
        },
        Migrations {
            name: "identity",
            migrator: &MIGRATOR,
        },
    ]
}

/// Puts the service together. The keys come first, since without them no token
/// can be issued; then the accounts that the environment names.
async fn assemble(start: Start) -> anyhow::Result<Assembly> {
    let config = Config::read(&start)?;
    let hasher = Hasher::new(available_parallelism()?.get())?;
    let keyring = Arc::new(Keyring::default());
    let rotation = KeyRotation {
        pool: start.pool.clone(),
        key_encryption_key: Arc::clone(&config.key_encryption_key),
        lifetime: config.signing_key_lifetime,
        keyring: Arc::clone(&keyring),
    };
    rotation.round().await.context(
        "loading the signing keys; they open with the BURSAR_KEY_ENCRYPTION_KEY they were made with",
    )?;

    bootstrap::run(&start.pool, &config, &hasher)
        .await
        .context("making sure of the administrator and the service accounts")?;

    let shared = Shared {
        pool: start.pool.clone(),
        hasher,
        issuer: Issuer {
            issuer: start.config.token_issuer.as_str().into(),
            audience: start.config.token_audience.as_str().into(),
            keyring: Arc::clone(&keyring),
        },
    };
    let service = IdentityServiceServer::new(Identity(Arc::new(shared)));
    Ok(Assembly {
        routes: Some(Routes::new(service)),
        http: jwks::router(keyring),
        jobs: vec![
            Job::new("signing keys", rotation.run(start.shutdown.clone())),
            Job::new("clean-up", jobs::clean_up::run(start.pool, start.shutdown)),
        ],
    })
}
