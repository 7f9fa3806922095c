//! The release programs: the service, and the load on it.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::checkout::Checkout;

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// The wallet service.
    pub(super) wallet: PathBuf,
    /// `services/wallet/benches/load`.
    pub(super) load: PathBuf,
}

/// What cargo says of a finished target.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds them; cargo tells where it puts them.
pub(super) async fn build(checkout: &Checkout) -> anyhow::Result<Programs> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", "bursar-wallet"])
        .args(["--bin", "bursar-wallet", "--bench", "load"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(checkout.root())
        .env("SQLX_OFFLINE", "true")
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cargo cannot be started")?;
    ensure!(
        output.status.success(),
        "the release programs do not compile"
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let built: Vec<Message> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let find = |name: &str| {
        built
            .iter()
            .filter(|message| message.target.as_ref().is_some_and(|t| t.name == name))
            .find_map(|message| message.executable.clone())
            .with_context(|| format!("cargo did not say where it put {name}"))
    };
    Ok(Programs {
        wallet: find("bursar-wallet")?,
        load: find("load")?,
    })
}
