//! The programs that are measured, and the loads on them, built by one call.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::process::Command;

use super::settings::{Part, Settings};
use crate::checkout::Checkout;

/// Where the programs are, of each part that is measured.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) ledger: Option<Ledger>,
    pub(super) transfers: Option<Transfers>,
}

/// What the ledger is measured with.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// The wallet service.
    pub(super) wallet: PathBuf,
    /// `services/wallet/benches/load`.
    pub(super) load: PathBuf,
}

/// What transfers are measured with.
#[derive(Clone, Debug)]
pub(super) struct Transfers {
    /// The wallet service.
    pub(super) wallet: PathBuf,
    /// The transaction service.
    pub(super) transaction: PathBuf,
    /// The generator of the gateway's configuration.
    pub(super) gateway: PathBuf,
    /// `services/transaction/benches/transfers`.
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
pub(super) async fn build(checkout: &Checkout, settings: &Settings) -> anyhow::Result<Programs> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--profile", &settings.profile])
        .args(targets(settings))
        .arg("--message-format=json-render-diagnostics")
        .current_dir(checkout.root())
        .env("SQLX_OFFLINE", "true")
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cargo cannot be started")?;
    ensure!(output.status.success(), "the programs do not compile");
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
    let ledger = || -> anyhow::Result<Ledger> {
        Ok(Ledger {
            wallet: find("bursar-wallet")?,
            load: find("load")?,
        })
    };
    let transfers = || -> anyhow::Result<Transfers> {
        Ok(Transfers {
            wallet: find("bursar-wallet")?,
            transaction: find("bursar-transaction")?,
            gateway: find("bursar-gateway")?,
            load: find("transfers")?,
        })
    };
    let measures = |part| settings.measures(part);
    Ok(Programs {
        ledger: measures(Part::Ledger).then(ledger).transpose()?,
        transfers: measures(Part::Transfers).then(transfers).transpose()?,
    })
}

/// What cargo is told to build: wallet in any case, and only the loads needed.
fn targets(settings: &Settings) -> Vec<&'static str> {
    let mut targets = vec!["--package", "bursar-wallet", "--bin", "bursar-wallet"];
    if settings.measures(Part::Ledger) {
        targets.extend(["--bench", "load"]);
    }
    if settings.measures(Part::Transfers) {
        targets.extend(["--package", "bursar-transaction"]);
        targets.extend(["--bin", "bursar-transaction", "--bench", "transfers"]);
        targets.extend(["--package", "bursar-gateway", "--bin", "bursar-gateway"]);
    }
    targets
}
