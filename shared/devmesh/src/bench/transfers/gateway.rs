//! The gateway in front of the services under load.
//!
//! It is Envoy with the generated configuration, everything in the chain that
//! production has: tokens are verified, rates are counted, and only their limits
//! are too high to be met.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::bench::driver::Issuer;
use crate::bench::programs::Transfers;
use crate::bench::server::Server;
use crate::bench::service::{Service, Site};
use crate::home::{Home, json as json_file};
use crate::intent::Intent;
use crate::plan::{ProcessSpec, base_environment, gateway};
use crate::ports::{self, Ports};

/// By what the limits are multiplied.
const RATE_LIMIT_SCALE: u32 = 1_000_000;

/// Generates the configuration and starts Envoy.
pub(super) async fn start(
    programs: &Transfers,
    server: &Server,
    home: &Home,
    intent: &Intent,
    specs: &[ProcessSpec],
    issuer: &Issuer,
) -> anyhow::Result<Service> {
    let mut ports = Ports::load(home)?;
    let address = ports::loopback(ports.get_or_choose("gateway.bench")?).to_string();
    ports.save(home)?;
    let directory = home.gateway();
    let settings = directory.join("settings.json");
    json_file::write(&settings, &settings_of(&address, specs, issuer)?)?;
    let output = Command::new(&programs.gateway)
        .arg("generate")
        .arg("--settings")
        .arg(&settings)
        .arg("--output-dir")
        .arg(&directory)
        .stdin(Stdio::null())
        .output()
        .await
        .context("the gateway's generator cannot be started")?;
    ensure!(
        output.status.success(),
        "the gateway's configuration cannot be generated: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let site = Site {
        name: gateway::NAME,
        program: server.tools.join("envoy"),
        environment: base_environment(intent),
        log: home.log(gateway::NAME),
        ready_url: format!("http://{address}/.well-known/jwks.json"),
        address,
    };
    let arguments = gateway::arguments(&directory.join("envoy.json"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    site.start(&arguments).await
}

/// What the generator is told. The load's issuer stands in for identity; services
/// that take no part are at addresses where nobody answers.
fn settings_of(listen: &str, specs: &[ProcessSpec], issuer: &Issuer) -> anyhow::Result<Value> {
    let mut upstreams = serde_json::Map::new();
    for spec in specs {
        let Some(http) = &spec.http_address else {
            continue;
        };
        let upstream = match spec.name {
            "identity" => json!({
                "grpc": authority(&issuer.identity_address)?,
                "http": authority(&issuer.jwks_url)?,
            }),
            _ => json!({"grpc": spec.address, "http": http}),
        };
        upstreams.insert(spec.name.to_owned(), upstream);
    }
    Ok(json!({
        "listen": listen,
        "services": upstreams,
        "rate_limits": {"enabled": true, "scale": RATE_LIMIT_SCALE},
    }))
}

/// The `host:port` of a URL.
fn authority(url: &str) -> anyhow::Result<&str> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("{url} is not a URL of http"))?;
    Ok(rest.split('/').next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A URL's host and port are found with and without a path, and nothing else
    /// is taken for one.
    #[test]
    fn an_authority_is_found() {
        let keys = "http://127.0.0.1:7/.well-known/jwks.json";
        assert_eq!(authority(keys).unwrap(), "127.0.0.1:7");
        assert_eq!(authority("http://127.0.0.1:8").unwrap(), "127.0.0.1:8");
        assert!(authority("127.0.0.1:9").is_err());
    }
}
