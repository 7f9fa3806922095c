//! `bursar-gateway`: writes what Envoy needs to be Bursar's front door.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bursar_gateway::Settings;
use clap::{Parser, Subcommand};

/// Generates Envoy's configuration from the contract.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write envoy.json and descriptors.binpb.
    Generate {
        /// The settings, a .toml or .json file.
        #[arg(long)]
        settings: PathBuf,
        /// Where to write; made if absent.
        #[arg(long)]
        output_dir: PathBuf,
    },
    /// Print the routes of the contract.
    Routes,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody to tell when standard error is closed.
            drop(writeln!(io::stderr(), "bursar-gateway: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let text = match command {
        Command::Generate {
            settings,
            output_dir,
        } => {
            let settings = Settings::read(settings)?;
            let config = bursar_gateway::generate(&settings, output_dir)?;
            format!("{}\n", config.display())
        }
        Command::Routes => bursar_gateway::route_table()?,
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
}
