//! The reference: PostgreSQL's own benchmark, TPC-B, by 32 clients.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::seconds;

/// More branches than clients, so that the one row a branch is rarely fought
/// for. Each has 100,000 accounts.
const SCALE: &str = "50";
const CLIENTS: &str = "32";
const THREADS: &str = "2";

/// Creates and fills the reference's tables.
pub(super) async fn prepare(tools: &Path, database_url: &str) -> anyhow::Result<()> {
    pgbench(
        tools,
        database_url,
        &["--initialize", "--quiet", "--scale", SCALE],
    )
    .await
    .map(drop)
}

/// Transactions a second.
pub(super) async fn measure(
    tools: &Path,
    database_url: &str,
    length: Duration,
) -> anyhow::Result<f64> {
    let seconds = seconds(length).to_string();
    let arguments = [
        "--no-vacuum",
        "--protocol=prepared",
        "--client",
        CLIENTS,
        "--jobs",
        THREADS,
        "--time",
        &seconds,
    ];
    let output = pgbench(tools, database_url, &arguments).await?;
    tps(&String::from_utf8_lossy(&output.stdout))
}

async fn pgbench(tools: &Path, url: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new(tools.join("pgbench"))
        .args(arguments)
        .arg(url)
        .output()
        .await
        .context("pgbench cannot be started")?;
    ensure!(
        output.status.success(),
        "pgbench failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

fn tps(output: &str) -> anyhow::Result<f64> {
    output
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("pgbench did not say its rate: {output}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate is the line of that name; output without it is an error.
    #[test]
    fn the_rate_is_read() {
        let output = "latency average = 3.5 ms\ninitial connection time = 30.1 ms\n\
                      tps = 9012.345678 (without initial connection time)\n";
        assert!((tps(output).unwrap() - 9_012.345_678).abs() < 1e-6);
        assert!(tps("latency average = 3.5 ms\n").is_err());
    }
}
