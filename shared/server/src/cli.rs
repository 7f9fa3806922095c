//! The command line that every service has: `serve`, `migrate` and `verify`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::definition::Definition;
use crate::{database, invariants, serve, telemetry};

/// Everything is configured by `BURSAR_*` variables of the environment.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves calls until SIGTERM or SIGINT (the default).
    Serve,
    /// Applies the migrations as the owner role, and ends.
    Migrate,
    /// Checks the invariants, a line each, and under a broken one the first rows
    /// that break it; exits with 1 when one is broken.
    Verify,
}

/// The `main` of a service.
pub fn main(definition: Definition) -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let outcome = runtime.block_on(async {
        let _telemetry = telemetry::init(definition.name)?;
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => run(definition).await.map(|()| ExitCode::SUCCESS),
            Command::Migrate => migrate(&definition).await.map(|()| ExitCode::SUCCESS),
            Command::Verify => verify(&definition).await,
        }
    });
    outcome.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "the process ends");
        fail(&error)
    })
}

#[expect(
    clippy::print_stderr,
    reason = "a person or a supervisor reads why the process ended"
)]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

async fn run(definition: Definition) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let on_signal = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to end");
        on_signal.cancel();
    });
    serve::start(definition, Config::environment(), shutdown)
        .await?
        .wait()
        .await
}

async fn migrate(definition: &Definition) -> anyhow::Result<()> {
    let config: Config = Config::environment().extract()?;
    let owner_url = config
        .database_owner_url
        .context("BURSAR_DATABASE_OWNER_URL is not set")?;
    database::migrate(&owner_url, &config.database_url, &definition.migrations).await?;
    tracing::info!("the migrations are applied");
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the command's output is for people and scripts"
)]
async fn verify(definition: &Definition) -> anyhow::Result<ExitCode> {
    let config: Config = Config::environment().extract()?;
    let pool = database::connect(&config.database_url, 1, definition.name).await?;
    let verdicts = invariants::verify(&pool, &definition.invariants).await?;
    let mut exit = ExitCode::SUCCESS;
    for verdict in &verdicts {
        let invariant = verdict.invariant;
        let result = if verdict.offending_rows == 0 {
            "PASS".to_owned()
        } else {
            exit = ExitCode::FAILURE;
            format!("FAIL ({} rows)", verdict.offending_rows)
        };
        println!(
            "{:<11} {:>2}  {:<60} {result}",
            definition.name, invariant.number, invariant.name
        );
        for row in &verdict.shown {
            println!("    {row}");
        }
    }
    Ok(exit)
}
