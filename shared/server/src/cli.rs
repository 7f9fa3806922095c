//! The command line that every service has: `serve`, `migrate` and `verify`, and
//! the commands that it adds.

use std::pin::Pin;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::definition::Definition;
use crate::invariants::Check;
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

/// What a service's program can do beyond what all of them can.
#[derive(Default)]
pub struct Extras {
    /// Rules that `verify` checks besides the definition's.
    pub checks: Vec<Check>,
    /// Further commands.
    pub commands: Vec<ExtraCommand>,
}

type CommandFuture = Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>> + Send>>;

/// A command of one service.
pub struct ExtraCommand {
    /// Its name, its arguments and what it says about itself.
    pub command: clap::Command,
    /// Carries it out with its arguments and the database.
    pub run: fn(ArgMatches, PgPool) -> CommandFuture,
}

/// What was asked for.
enum Asked {
    Standard(Command),
    Extra(fn(ArgMatches, PgPool) -> CommandFuture, ArgMatches),
}

fn parse(commands: Vec<ExtraCommand>) -> Asked {
    let mut all = Arguments::command();
    for extra in &commands {
        all = all.subcommand(extra.command.clone());
    }
    let matches = all.get_matches();
    if let Some((name, own)) = matches.subcommand()
        && let Some(extra) = commands
            .iter()
            .find(|extra| extra.command.get_name() == name)
    {
        return Asked::Extra(extra.run, own.clone());
    }
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    Asked::Standard(arguments.command.unwrap_or(Command::Serve))
}

/// The `main` of a service.
pub fn main(definition: Definition) -> ExitCode {
    main_with(definition, Extras::default())
}

/// The `main` of a service that can do more than all of them can.
pub fn main_with(definition: Definition, extras: Extras) -> ExitCode {
    let asked = parse(extras.commands);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let outcome = runtime.block_on(async {
        let _telemetry = telemetry::init(definition.name)?;
        #[cfg(feature = "crash-points")]
        if let Some(plan) = bursar_crash::arm()? {
            tracing::warn!(?plan, "a crash point is armed");
        }
        match asked {
            Asked::Standard(Command::Serve) => run(definition).await.map(|()| ExitCode::SUCCESS),
            Asked::Standard(Command::Migrate) => {
                migrate(&definition).await.map(|()| ExitCode::SUCCESS)
            }
            Asked::Standard(Command::Verify) => verify(&definition, &extras.checks).await,
            Asked::Extra(run, matches) => {
                let config: Config = Config::environment().extract()?;
                let pool = database::connect(&config.database_url, 1, definition.name).await?;
                run(matches, pool).await
            }
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
async fn verify(definition: &Definition, checks: &[Check]) -> anyhow::Result<ExitCode> {
    let config: Config = Config::environment().extract()?;
    let pool = database::connect(&config.database_url, 1, definition.name).await?;
    let mut exit = ExitCode::SUCCESS;
    let mut tell = |number: u8, name: &str, offending: usize, shown: &[String]| {
        let result = if offending == 0 {
            "PASS".to_owned()
        } else {
            exit = ExitCode::FAILURE;
            format!("FAIL ({offending} rows)")
        };
        println!("{:<11} {number:>2}  {name:<60} {result}", definition.name);
        for row in shown {
            println!("    {row}");
        }
    };
    for verdict in &invariants::verify(&pool, &definition.invariants).await? {
        let invariant = verdict.invariant;
        tell(
            invariant.number,
            invariant.name,
            verdict.offending_rows,
            &verdict.shown,
        );
    }
    for check in checks {
        let found = invariants::run_check(&pool, check).await?;
        tell(check.number, check.name, found.len(), &found);
    }
    Ok(exit)
}
