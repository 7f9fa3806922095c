//! The gateway: Envoy, with the configuration that `bursar-gateway` generates.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{NamedPort, Probe, ProcessSpec, SERVICE_STOP_DEADLINE, base_environment};
use crate::home::{Home, json as json_file};
use crate::intent::Intent;
use crate::plan::services;
use crate::ports;
use crate::ports::{NoFreePort, Ports};

/// The gateway's name in the mesh.
pub const NAME: &str = "gateway";

/// Pages that may call the mesh from a browser: the usual addresses of a
/// front end under development.
const ORIGINS: [&str; 2] = ["http://localhost:3000", "http://localhost:5173"];

/// The spec of Envoy, after its configuration has been generated.
///
/// # Errors
/// When the configuration cannot be generated.
pub fn spec(home: &Home, intent: &Intent, ports: &mut Ports) -> anyhow::Result<ProcessSpec> {
    let port = ports.get_or_choose(NAME)?;
    let admin_port = ports.get_or_choose("gateway.admin")?;
    let directory = home.gateway();
    let settings = directory.join("settings.json");
    json_file::write(&settings, &settings_of(intent, ports)?)?;
    generate(
        &intent.binaries.join("bursar-gateway"),
        &settings,
        &directory,
    )?;

    let configuration = directory.join("envoy.json");
    let mut inputs = Sha256::new();
    for file in [&configuration, &directory.join("descriptors.binpb")] {
        let content = fs::read(file).with_context(|| format!("{} is missing", file.display()))?;
        inputs.update(Sha256::digest(content));
    }
    let address = ports::loopback(port).to_string();
    Ok(ProcessSpec {
        name: NAME,
        command: [intent.tools.join("envoy").display().to_string()]
            .into_iter()
            .chain(arguments(&configuration))
            .collect(),
        directory,
        environment: base_environment(intent),
        user: None,
        ports: vec![
            NamedPort {
                name: NAME.to_owned(),
                port,
            },
            NamedPort {
                name: "gateway.admin".to_owned(),
                port: admin_port,
            },
        ],
        http_address: Some(ports::loopback(admin_port).to_string()),
        needs: services::names(),
        // Envoy's own health, then one request that is routed to a service.
        probe: Probe::Http {
            urls: vec![
                format!("http://{address}/healthz"),
                format!("http://{address}/.well-known/jwks.json"),
            ],
        },
        address,
        stop_signal: Signal::SIGTERM,
        stop_deadline: SERVICE_STOP_DEADLINE,
        inputs: hex::encode(inputs.finalize()),
    })
}

/// What Envoy is started with. It has half of the machine's cores for its workers, as the
/// rest of the mesh is on the same machine.
pub(crate) fn arguments(configuration: &Path) -> Vec<String> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = (cores / 2).max(1);
    [
        "--config-path",
        &configuration.display().to_string(),
        "--concurrency",
        &workers.to_string(),
        // Two meshes on one machine would meet in its shared memory.
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What the generator is told; everything left out has its default there.
fn settings_of(intent: &Intent, ports: &mut Ports) -> Result<Value, NoFreePort> {
    let mut address = |name: &str| {
        ports
            .get_or_choose(name)
            .map(|port| ports::loopback(port).to_string())
    };
    let mut upstreams = serde_json::Map::new();
    for service in services::names() {
        let upstream = json!({
            "grpc": address(&format!("{service}.grpc"))?,
            "http": address(&format!("{service}.http"))?,
        });
        upstreams.insert(service.to_owned(), upstream);
    }
    Ok(json!({
        "listen": address(NAME)?,
        "admin": address("gateway.admin")?,
        "reflection": true,
        "services": upstreams,
        "cors": { "origins": ORIGINS },
        "rate_limits": { "enabled": intent.rate_limits },
    }))
}

fn generate(generator: &Path, settings: &Path, directory: &Path) -> anyhow::Result<()> {
    let output = Command::new(generator)
        .arg("generate")
        .arg("--settings")
        .arg(settings)
        .arg("--output-dir")
        .arg(directory)
        .output()
        .with_context(|| format!("{} cannot be started", generator.display()))?;
    ensure!(
        output.status.success(),
        "the gateway's configuration cannot be generated: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
