//! The crates of the workspace, as Cargo sees them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// One crate of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its directory, relative to the workspace.
    pub directory: PathBuf,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
}

/// One dependency of a crate.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The crate's name.
    pub name: String,
    /// Whether only tests, benchmarks and examples use it.
    pub is_development: bool,
}

impl Package {
    /// Whether the crate depends on that one, for whatever.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.dependencies
            .iter()
            .any(|dependency| dependency.name == name)
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<RawDependency>,
}

#[derive(Deserialize)]
struct RawDependency {
    name: String,
    kind: Option<String>,
}

impl From<RawDependency> for Dependency {
    fn from(raw: RawDependency) -> Self {
        Self {
            is_development: raw.kind.as_deref() == Some("dev"),
            name: raw.name,
        }
    }
}

/// The members of the workspace at `root`, sorted by directory.
///
/// # Errors
/// When Cargo cannot read the workspace.
pub fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo cannot be started")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let mut packages = metadata
        .packages
        .into_iter()
        .map(|package| {
            let directory = package
                .manifest_path
                .parent()
                .context("a manifest has a directory")?;
            let directory = directory
                .strip_prefix(root)
                .with_context(|| format!("{} is outside the workspace", package.name))?;
            Ok(Package {
                name: package.name,
                directory: directory.to_owned(),
                dependencies: package
                    .dependencies
                    .into_iter()
                    .map(Dependency::from)
                    .collect(),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    packages.sort_by(|a, b| a.directory.cmp(&b.directory));
    Ok(packages)
}

/// Every Rust source below a directory, sorted.
///
/// # Errors
/// When a directory cannot be read.
pub fn rust_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The Cargo that runs us, or the one on the path, in the workspace.
#[must_use]
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}
