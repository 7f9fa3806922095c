//! The programs that the tests are built into, as Cargo tells them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::workspace::cargo;

/// A program of tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Where it is.
    pub(super) executable: PathBuf,
}

/// The programs by their crate's directory and their target's name.
#[derive(Debug, Default)]
pub(super) struct Programs(HashMap<(PathBuf, String), Program>);

/// What is read of one of Cargo's messages.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Programs {
    /// Has Cargo build the tests with these arguments, which does nothing when they
    /// are built, and reads where they are.
    pub(super) fn built(root: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        let output = cargo(root)
            .args(["test", "--no-run", "--quiet", "--message-format", "json"])
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .context("cargo cannot be started")?;
        ensure!(output.status.success(), "the tests cannot be built");
        Self::read(root, &String::from_utf8_lossy(&output.stdout))
    }

    fn read(root: &Path, messages: &str) -> anyhow::Result<Self> {
        let mut programs = HashMap::new();
        for line in messages.lines().filter(|line| line.starts_with('{')) {
            let message: Message = serde_json::from_str(line)?;
            let is_test = message.profile.is_some_and(|profile| profile.test);
            let (Some(manifest), Some(target), Some(executable)) =
                (message.manifest_path, message.target, message.executable)
            else {
                continue;
            };
            // A program's own unit tests bear the name of its library's.
            let counts = ["test", "lib"].iter().any(|kind| target.kind[0] == **kind);
            if message.reason != "compiler-artifact" || !is_test || !counts {
                continue;
            }
            let directory = manifest.parent().unwrap_or(&manifest);
            let directory = directory.strip_prefix(root).unwrap_or(directory).to_owned();
            programs.insert((directory, target.name), Program { executable });
        }
        Ok(Self(programs))
    }

    /// The program of a crate's target.
    pub(super) fn of(&self, directory: &str, target: &str) -> Option<&Program> {
        self.0.get(&(PathBuf::from(directory), target.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_crate_and_target() {
        // Libraries that are only dependencies and plain programs are no tests.
        let artifact = |directory: &str, kind: &str, name: &str, test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "manifest_path": format!("/root/{directory}/Cargo.toml"),
                "target": {"name": name, "kind": [kind]},
                "profile": {"test": test},
                "executable": format!("/built/{directory}/{name}-{kind}"),
            })
            .to_string()
        };
        let messages = [
            artifact("services/wallet", "test", "service", true),
            artifact("services/wallet", "lib", "bursar_wallet", true),
            artifact("services/wallet", "bin", "bursar_wallet", true),
            artifact("services/admin", "lib", "bursar_admin", false),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let programs = Programs::read(Path::new("/root"), &messages.join("\n")).unwrap();
        let executable = |directory, target| {
            let program = programs.of(directory, target)?;
            Some(program.executable.display().to_string())
        };
        assert_eq!(
            executable("services/wallet", "service").as_deref(),
            Some("/built/services/wallet/service-test")
        );
        assert_eq!(
            executable("services/wallet", "bursar_wallet").as_deref(),
            Some("/built/services/wallet/bursar_wallet-lib")
        );
        assert_eq!(executable("services/admin", "bursar_admin"), None);
        assert_eq!(executable("services/admin", "service"), None);
    }
}
