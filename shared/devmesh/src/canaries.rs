//! `canaries`: rules that are broken on purpose, to see that the suite notices.
//!
//! A canary is a line at a rule, `canary!("part.broken")`, that is true only in a
//! build for tests and only in a process whose environment names it. For each one in
//! the [`list`] a test is run twice: as it is, when it must pass, and with the rule
//! broken, when it must fail. A test that passes both times proves nothing about the
//! rule, and fails this run.
//!
//! The programs that the tests are built into are run directly, so nothing is built
//! for a canary.

mod list;
mod programs;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::process::Command;

use crate::checkout::Checkout;
pub use list::{CANARIES, Canary, Test};
use programs::{Program, Programs};

/// The variable that names the broken rule.
const VARIABLE: &str = "BURSAR_CANARY";
/// How long one test may take, broken or not.
const PATIENCE: Duration = Duration::from_secs(180);
/// How much of a failed run's output is shown, in lines.
const SHOWN_LINES: usize = 40;

/// How the runs ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Canaries that were caught.
    pub passed: usize,
    /// Canaries that were not, or whose test fails without them as well.
    pub failed: usize,
}

/// What one run of a test came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It was run and passed.
    Passed,
    /// It was run and failed.
    Failed,
    /// It was not run, or the program ended in another way, for this reason.
    Broken(String),
}

/// Runs every canary whose name starts with `prefix` and tells each as it ends.
/// `build` are the arguments with which Cargo has built the tests.
///
/// # Errors
/// When Cargo cannot build the tests, or a program cannot be started.
pub async fn run(
    prefix: &str,
    build: &[String],
    mut tell: impl FnMut(&str) -> std::io::Result<()>,
) -> anyhow::Result<Tally> {
    let checkout = Checkout::find()?;
    let programs = Programs::built(checkout.root(), build)?;
    let mut tally = Tally::default();
    let mut calm: HashMap<Test, Result<(), String>> = HashMap::new();
    for canary in CANARIES.iter().filter(|it| it.name.starts_with(prefix)) {
        let started = Instant::now();
        let caught = caught(canary, checkout.root(), &programs, &mut calm).await?;
        let took = started.elapsed().as_secs_f32();
        let test = canary.caught_by;
        match caught {
            Ok(()) => {
                tally.passed += 1;
                tell(&format!(
                    "caught      {:<28} {took:>5.1} s  {}",
                    canary.name, test.name
                ))?;
            }
            Err(why) => {
                tally.failed += 1;
                tell(&format!(
                    "NOT CAUGHT  {:<28} {took:>5.1} s  {}: {}: {why}",
                    canary.name, test.name, canary.breaks
                ))?;
            }
        }
    }
    Ok(tally)
}

/// Runs a canary's test as it is, once a test, and with the rule broken.
async fn caught(
    canary: &Canary,
    root: &Path,
    programs: &Programs,
    calm: &mut HashMap<Test, Result<(), String>>,
) -> anyhow::Result<Result<(), String>> {
    let test = canary.caught_by;
    let Some(program) = programs.of(test.directory, test.target) else {
        return Ok(Err("its test is not built".to_owned()));
    };
    let passes = match calm.get(&test) {
        Some(passes) => passes.clone(),
        None => match attempt(program, test, root, None).await? {
            (Verdict::Passed, _) => Ok(()),
            (Verdict::Failed, output) => Err(format!("it fails by itself\n{output}")),
            (Verdict::Broken(why), output) => Err(format!("by itself, {why}\n{output}")),
        },
    };
    calm.insert(test, passes.clone());
    if passes.is_err() {
        return Ok(passes);
    }
    Ok(
        match attempt(program, test, root, Some(canary.name)).await? {
            (Verdict::Failed, _) => Ok(()),
            (Verdict::Passed, _) => Err("it passes all the same".to_owned()),
            (Verdict::Broken(why), output) => Err(format!("{why}\n{output}")),
        },
    )
}

/// One run of one test, and the end of what it said.
async fn attempt(
    program: &Program,
    test: Test,
    root: &Path,
    broken: Option<&str>,
) -> anyhow::Result<(Verdict, String)> {
    let mut command = Command::new(&program.executable);
    command
        .args(["--exact", test.name])
        .current_dir(root.join(test.directory))
        .env_remove(VARIABLE)
        .envs(broken.map(|name| (VARIABLE, name)))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let Ok(ended) = tokio::time::timeout(PATIENCE, command.output()).await else {
        let why = format!("it took longer than {PATIENCE:?}");
        return Ok((Verdict::Broken(why), String::new()));
    };
    let output = ended.with_context(|| format!("{}", program.executable.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((verdict(&output, &said), end_of(&said)))
}

fn verdict(output: &Output, said: &str) -> Verdict {
    let result = said
        .lines()
        .find_map(|line| line.strip_prefix("test result: "));
    match (result, output.status.success()) {
        (Some(result), true) if result.starts_with("ok. 1 passed") => Verdict::Passed,
        (Some(result), false) if result.starts_with("FAILED. 0 passed; 1 failed") => {
            Verdict::Failed
        }
        (Some(result), _) => Verdict::Broken(format!("it is not one test: {result}")),
        (None, _) => Verdict::Broken(format!("its program ended with {}", output.status)),
    }
}

/// The last lines of what a test said.
fn end_of(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn ended(code: i32, said: &str) -> Verdict {
        let output = Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        verdict(&output, said)
    }

    #[test]
    fn only_one_test_that_was_run_counts() {
        // A name that fits no test must not pass for a test that passes, and a
        // program that fell over not for a test that failed.
        let passed =
            "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored";
        let failed = "running 1 test\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored";
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored";
        assert_eq!(ended(0, passed), Verdict::Passed);
        assert_eq!(ended(101, failed), Verdict::Failed);
        assert!(matches!(ended(0, none), Verdict::Broken(_)));
        assert!(matches!(ended(101, passed), Verdict::Broken(_)));
        assert!(matches!(ended(101, ""), Verdict::Broken(_)));
    }
}
