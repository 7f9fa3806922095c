//! `bench`: how fast the ledger and transfers are, against a reference on the
//! same server.
//!
//! Everything is private to the run: a PostgreSQL with durability on and the
//! settings that the operators' pages advise, a Valkey, an issuer of tokens, and
//! the services as release builds in processes of their own, with relay, outbox
//! and idempotency as in production. The load generators share the machine; that
//! is part of the definition.
//!
//! There are two parts, one after the other, each with services of its own: the
//! ledger, where wallet is called as other services call it, and transfers, which
//! go through the gateway as users' calls do.
//!
//! Measurements are interleaved: each round measures everything of its part once,
//! beginning with the reference, and the report has the medians of the rounds.
//! Rates are compared with the reference and with each other, so that they mean
//! something on other machines too.

use std::fs;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::signal::unix::{SignalKind, signal};

use crate::checkout::Checkout;
use crate::mesh::{Mesh, MeshOptions};

mod cpu;
mod driver;
mod programs;
mod reference;
mod report;
mod rounds;
mod seed;
mod server;
mod service;
mod settings;
mod settling;
mod stage;
mod transfers;

pub use self::report::Report;
pub use self::settings::{Part, Settings};

/// What this PostgreSQL has besides the settings of every mesh: memory for the
/// large set of wallets, and log files that are used again instead of being made
/// anew, as on a server that has run for a while.
const POSTGRES: [(&str, &str); 2] = [("shared_buffers", "4GB"), ("min_wal_size", "4GB")];

/// Runs the benchmark, writes `target/bench/report.json` and a table to `out`.
///
/// # Errors
/// When something cannot be built or started, or a caller gets an error: a
/// benchmark with failing calls measures nothing.
pub async fn run(settings: &Settings, out: &mut impl Write) -> anyhow::Result<Report> {
    let checkout = Checkout::find()?;
    writeln!(out, "Building programs ({}).", settings.profile)?;
    let programs = programs::build(&checkout, settings).await?;
    writeln!(
        out,
        "Starting PostgreSQL and Valkey; about {} minutes of measuring follow.",
        settings.estimate().as_secs().div_ceil(60)
    )?;
    let options = MeshOptions {
        postgres: POSTGRES
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..MeshOptions::servers()
    };
    let mesh = Mesh::start(options, |_| {}).await?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Dropping the measurement ends the service and the load.
    let measured = tokio::select! {
        measured = measure(settings, &checkout, &programs, &mesh, out) => measured,
        _ = interrupt.recv() => Err(anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow!("told to end")),
    };
    tokio::task::spawn_blocking(|| mesh.stop()).await??;
    let report = measured?;

    let directory = checkout.root().join("target/bench");
    fs::create_dir_all(&directory)?;
    let file = directory.join("report.json");
    fs::write(&file, format!("{}\n", serde_json::to_string(&report)?))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    writeln!(out, "\n{report}\nWritten to {}.", file.display())?;
    Ok(report)
}

async fn measure(
    settings: &Settings,
    checkout: &Checkout,
    programs: &programs::Programs,
    mesh: &Mesh,
    out: &mut impl Write,
) -> anyhow::Result<Report> {
    writeln!(out, "Filling the reference's database.")?;
    let server = server::Server::prepare(checkout, mesh).await?;
    let (mut ledger, mut of_transfers) = (None, None);
    if let Some(programs) = &programs.ledger {
        let mut stage = stage::Stage::set(settings, programs, &server, mesh, out).await?;
        let measured = rounds::all(settings, &mut stage, out).await;
        stage.strike().await?;
        ledger = Some(measured?);
    }
    if let Some(programs) = &programs.transfers {
        let mut stage =
            transfers::stage::Stage::set(settings, programs, &server, mesh, out).await?;
        let measured = transfers::rounds::all(settings, &mut stage, out).await;
        stage.strike().await?;
        of_transfers = Some(measured?);
    }
    Ok(Report::of(ledger, of_transfers))
}

/// A span in whole seconds, as the programs take it.
fn seconds(span: Duration) -> u64 {
    span.as_secs().max(1)
}
