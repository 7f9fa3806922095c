//! `verify`: every invariant, on everything a mesh has ever done.
//!
//! Each service checks its own database (`bursar-<service> verify`); what holds
//! only between databases is checked here ([`across`]), because nobody else can
//! see two of them.

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use futures::future::try_join_all;
use tokio::process::Command;

use crate::home::Home;
use crate::intent::Intent;
use crate::plan::{ProcessSpec, services};
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::servers::databases::Databases;

pub mod across;

/// All verdicts.
#[derive(Clone, Debug)]
pub struct Report {
    /// One line an invariant.
    pub lines: Vec<Line>,
}

/// The verdict on one invariant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// The line as it is printed.
    pub text: String,
    /// Whether the invariant holds.
    pub holds: bool,
}

impl Line {
    /// A verdict in the form the services print theirs.
    #[must_use]
    pub fn new(place: &str, number: u8, name: &str, offending_rows: usize) -> Self {
        let result = if offending_rows == 0 {
            "PASS".to_owned()
        } else {
            format!("FAIL ({offending_rows} rows)")
        };
        Self {
            text: format!("{place:<11} {number:>2}  {name:<60} {result}"),
            holds: offending_rows == 0,
        }
    }
}

impl Report {
    /// Whether every invariant holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.lines.iter().all(|line| line.holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(formatter, "{}", line.text)?;
        }
        let (all, broken) = (
            self.lines.len(),
            self.lines.iter().filter(|line| !line.holds).count(),
        );
        if broken == 0 {
            write!(formatter, "\nall {all} invariants hold")
        } else {
            write!(formatter, "\n{broken} of {all} invariants are BROKEN")
        }
    }
}

/// As [`verify`], for a caller without a runtime: a test's own thread, say.
///
/// # Errors
/// As [`verify`], and when there is no mesh in this directory.
pub fn verify_blocking(path: &Path) -> anyhow::Result<Report> {
    let home = Home::open(path)?.with_context(|| format!("no mesh in {}", path.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(verify(&home))
}

/// Checks every invariant of the mesh in this home. PostgreSQL must run; the
/// services need not.
///
/// # Errors
/// When a check cannot be made, which is not the same as a broken invariant.
pub async fn verify(home: &Home) -> anyhow::Result<Report> {
    let intent = Intent::load(home)?.context("no mesh here; start one with `make up`")?;
    let (mut ports, mut secrets) = (Ports::load(home)?, Secrets::load(home)?);
    let databases = Databases::new(ports.get_or_choose("postgres")?, &mut secrets);
    let specs = services::specs(&intent, &databases, &mut ports, &mut secrets)?;
    let own = try_join_all(specs.iter().map(verify_service)).await?;
    let mut lines: Vec<Line> = own.into_iter().flatten().collect();
    lines.extend(across::verify(&databases).await?);
    Ok(Report { lines })
}

/// Runs a service's own `verify` and reads its verdicts.
async fn verify_service(spec: &ProcessSpec) -> anyhow::Result<Vec<Line>> {
    let program = spec.command.first().context("a service has a program")?;
    let output = Command::new(program)
        .arg("verify")
        .env_clear()
        .envs(&spec.environment)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("{program} cannot be started"))?;
    let lines = verdicts(&String::from_utf8_lossy(&output.stdout));
    let is_told = lines.iter().any(|line| !line.holds);
    if !output.status.success() && !is_told || lines.is_empty() {
        bail!(
            "{program} verify ended with {} and no verdict: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(lines)
}

/// The verdicts among the lines of an output, which may hold log lines as well.
fn verdicts(output: &str) -> Vec<Line> {
    output
        .lines()
        .filter_map(|line| {
            let text = line.trim_end();
            let passes = text.ends_with(" PASS");
            let fails = text.contains(" FAIL (") && text.ends_with(')');
            (passes || fails).then(|| Line {
                text: text.to_owned(),
                holds: passes,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_told_from_log_lines() {
        // Only lines that end in a verdict count, and a failure is a failure.
        let output = "{\"level\":\"INFO\",\"message\":\"PASS through\"}\n\
                      wallet       1  entries sum to zero            PASS\n\
                      wallet       3  balances equal their entries   FAIL (2 rows)\n";
        let holds: Vec<bool> = verdicts(output).iter().map(|line| line.holds).collect();
        assert_eq!(holds, [true, false]);
    }

    #[test]
    fn own_lines_read_like_the_services() {
        // What is printed here is recognised by the same reader.
        let lines = [
            Line::new("mesh", 15, "completed", 0),
            Line::new("mesh", 16, "captures", 3),
        ];
        let output = lines.clone().map(|line| line.text).join("\n");
        assert_eq!(verdicts(&output), lines);
    }
}
