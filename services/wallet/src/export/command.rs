//! `bursar-wallet export`: the export on standard output.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::ensure;
use bursar_server::ExtraCommand;
use clap::{Arg, ArgMatches, Command, value_parser};
use sqlx::PgPool;

use super::Export;
use crate::store::proof::blocks;

const FROM_HEIGHT: &str = "from-height";
const TO_HEIGHT: &str = "to-height";

/// The command.
pub fn command() -> ExtraCommand {
    let height = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("HEIGHT")
            .value_parser(value_parser!(u64).range(1..))
            .help(help)
    };
    ExtraCommand {
        command: Command::new("export")
            .about("Writes the sealed ledger to standard output, for bursar-verify")
            .arg(height(FROM_HEIGHT, "The first block [default: 1]"))
            .arg(height(TO_HEIGHT, "The last block [default: the latest]")),
        run: |matches, pool| Box::pin(run(matches, pool)),
    }
}

async fn run(matches: ArgMatches, pool: PgPool) -> anyhow::Result<ExitCode> {
    let mut connection = pool.acquire().await?;
    let latest = blocks::latest(&mut connection).await?;
    let latest = latest.map_or(0, |block| block.height);
    let height = |name| matches.get_one::<u64>(name).copied();
    let first = height(FROM_HEIGHT).unwrap_or(1);
    let last = height(TO_HEIGHT).unwrap_or(latest);
    ensure!(last <= latest, "the latest block is {latest}");
    ensure!(
        first <= last.max(1),
        "the first block is behind the last, {last}"
    );
    let mut export = Export::new(first, last);
    let mut output = io::stdout();
    while let Some(parts) = export.next(&mut connection).await? {
        for part in parts {
            output.write_all(&part)?;
        }
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
