//! The plan: which processes a mesh has, and everything each is started from.
//!
//! The plan is computed from the intent, the ports and the secrets alone, so the
//! supervisor can compute it again after its own death, or after a rebuild, and
//! see by comparing digests which processes it must replace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};

use crate::home::Home;
use crate::intent::{Intent, Scope};
use crate::ports;
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::servers::databases::Databases;
use crate::servers::postgres::Cluster;
use crate::servers::valkey;

pub mod gateway;
pub mod services;

/// How long a service gets to finish the requests in flight.
const SERVICE_STOP_DEADLINE: Duration = Duration::from_secs(15);
/// How long PostgreSQL gets to write its last checkpoint.
const POSTGRES_STOP_DEADLINE: Duration = Duration::from_secs(30);

/// All processes of a mesh, in the order they start.
#[derive(Clone)]
pub struct Plan {
    /// The processes; each comes after those it needs.
    pub processes: Vec<ProcessSpec>,
    /// The databases and their users.
    pub databases: Databases,
    /// PostgreSQL's place on disk.
    pub cluster: Cluster,
    /// Whether PostgreSQL waits for the disk.
    pub durable: bool,
    /// Whether the services' roles and databases are created.
    pub provisioned: bool,
}

/// One process: what it is started from and how one knows that it works.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// Its name in the mesh.
    pub name: &'static str,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its working directory.
    pub directory: PathBuf,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// The user it becomes, when the mesh runs as root and it must not.
    pub user: Option<String>,
    /// The ports it listens on.
    pub ports: Vec<NamedPort>,
    /// Its address, `host:port`.
    pub address: String,
    /// Where its health and metrics are served, when that is another port.
    pub http_address: Option<String>,
    /// The processes that must have become healthy before it starts.
    pub needs: Vec<&'static str>,
    /// How to tell that it works.
    pub probe: Probe,
    /// How it is asked to end.
    pub stop_signal: Signal,
    /// How long it gets to do so.
    pub stop_deadline: Duration,
    /// The content of files it reads once, at its start.
    pub inputs: String,
}

/// A port under the name it is kept by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedPort {
    /// The name in the ports file.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// How to tell that a process works.
#[derive(Clone, Debug)]
pub enum Probe {
    /// A connection as the superuser; then every role and database is there.
    Postgres,
    /// An authenticated PING.
    Valkey {
        /// Its port.
        port: u16,
        /// Its password.
        password: String,
    },
    /// Every URL answers 200.
    Http {
        /// The URLs, in the order they are asked.
        urls: Vec<String>,
    },
}

impl Plan {
    /// Computes the plan, choosing ports and secrets that are missing and
    /// writing the configuration files of Valkey and the gateway.
    ///
    /// # Errors
    /// When PostgreSQL's place cannot be prepared, no port is free, or the
    /// gateway's configuration cannot be generated.
    pub fn build(home: &Home, intent: &Intent) -> anyhow::Result<Self> {
        let mut ports = Ports::load(home)?;
        let mut secrets = Secrets::load(home)?;
        if let Some(port) = intent.gateway_port {
            ports.fix("gateway", port);
        }
        let databases = Databases::new(ports.get_or_choose("postgres")?, &mut secrets);
        let cluster = Cluster::of(home, &intent.tools)?;
        let mut processes = vec![
            postgres(&cluster, &mut ports, intent)?,
            valkey(home, &mut ports, &mut secrets, intent)?,
        ];
        if intent.scope == Scope::Mesh {
            processes.extend(services::specs(
                intent,
                &databases,
                &mut ports,
                &mut secrets,
            )?);
            // Saved before the generator runs: it may fail, the choice stays.
            ports.save(home)?;
            processes.push(gateway::spec(home, intent, &mut ports)?);
        }
        ports.save(home)?;
        secrets.save(home)?;
        Ok(Self {
            processes,
            databases,
            cluster,
            durable: intent.durable,
            provisioned: intent.scope == Scope::Mesh,
        })
    }

    /// The process of that name.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<&ProcessSpec> {
        self.processes.iter().find(|spec| spec.name == name)
    }
}

impl ProcessSpec {
    /// A digest of everything the process is started from, its program included:
    /// when it differs from the record's, the process is out of date.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |value: &str| {
            digest.update(value.len().to_le_bytes());
            digest.update(value.as_bytes());
        };
        self.command.iter().for_each(|argument| add(argument));
        for (name, value) in &self.environment {
            add(name);
            add(value);
        }
        add(self.user.as_deref().unwrap_or_default());
        add(&self.inputs);
        add(&self
            .command
            .first()
            .map(|program| fingerprint(Path::new(program)))
            .unwrap_or_default());
        hex::encode(digest.finalize())
    }
}

/// Tells one build of a program from another without reading it.
#[must_use]
pub fn fingerprint(program: &Path) -> String {
    fs::metadata(program).map_or_else(
        |_| "absent".to_owned(),
        |file| {
            format!(
                "{}-{}-{}.{}",
                file.ino(),
                file.size(),
                file.mtime(),
                file.mtime_nsec()
            )
        },
    )
}

/// What every process of the mesh finds in its environment. The caller's own
/// environment does not leak in: a mesh behaves alike in every shell.
#[must_use]
pub fn base_environment(intent: &Intent) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    environment.extend(intent.environment.clone());
    environment
}

fn postgres(cluster: &Cluster, ports: &mut Ports, intent: &Intent) -> anyhow::Result<ProcessSpec> {
    let port = ports.get_or_choose("postgres")?;
    Ok(ProcessSpec {
        name: "postgres",
        command: cluster.server_command(port, intent.durable, &intent.postgres),
        directory: cluster.data.clone(),
        environment: base_environment(intent),
        user: cluster.user.clone(),
        ports: vec![NamedPort {
            name: "postgres".to_owned(),
            port,
        }],
        address: ports::loopback(port).to_string(),
        http_address: None,
        needs: Vec::new(),
        probe: Probe::Postgres,
        // "Fast": ends the sessions instead of waiting for the clients.
        stop_signal: Signal::SIGINT,
        stop_deadline: POSTGRES_STOP_DEADLINE,
        inputs: String::new(),
    })
}

fn valkey(
    home: &Home,
    ports: &mut Ports,
    secrets: &mut Secrets,
    intent: &Intent,
) -> anyhow::Result<ProcessSpec> {
    let port = ports.get_or_choose("valkey")?;
    let password = secrets.password("valkey");
    Ok(ProcessSpec {
        name: "valkey",
        command: valkey::server_command(home, &intent.tools),
        directory: home.valkey(),
        environment: base_environment(intent),
        user: None,
        ports: vec![NamedPort {
            name: "valkey".to_owned(),
            port,
        }],
        address: ports::loopback(port).to_string(),
        http_address: None,
        needs: Vec::new(),
        inputs: valkey::configure(home, port, &password, intent.durable)?,
        probe: Probe::Valkey { port, password },
        stop_signal: Signal::SIGTERM,
        stop_deadline: SERVICE_STOP_DEADLINE,
    })
}
