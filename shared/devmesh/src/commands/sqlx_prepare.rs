//! `sqlx-prepare`: writes the offline data of the checked queries, or checks it.
//!
//! The `query!` macros, when they find a database, describe each query there and
//! save the answer in `SQLX_OFFLINE_DIR`; that is all `cargo sqlx prepare` does,
//! too. So each crate with checked queries is compiled once against a fresh
//! database of a private PostgreSQL, and its `.sqlx` directory becomes what was
//! saved, no more and no less. Builds of other crates, and other builds in the
//! same checkout, do not disturb it ([`act_as_wrapper`]).
//!
//! A service's database holds the tables of the shared crates besides its own,
//! so their migrations are applied first, as the services do at start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::Context;
use serde::Deserialize;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::checkout::Checkout;
use crate::mesh::{Mesh, MeshOptions};
use crate::servers::postgres::SUPERUSER;
use crate::workspace::{Package, cargo, packages, rust_files};

/// The macros that check a query against a database.
const MACROS: [&str; 6] = [
    "query!(",
    "query_as!(",
    "query_scalar!(",
    "query_file!(",
    "query_file_as!(",
    "query_file_scalar!(",
];

/// What the wrapper of rustc is told: see [`act_as_wrapper`].
const WRAPPER_PACKAGE: &str = "BURSAR_SQLX_PACKAGE";
const WRAPPER_DATABASE_URL: &str = "BURSAR_SQLX_DATABASE_URL";
const WRAPPER_DIRECTORY: &str = "BURSAR_SQLX_DIRECTORY";

/// How often a crate is compiled before another build in the same checkout,
/// which gets there first, is given up on.
const COMPILATIONS_MAX: usize = 5;

/// The offline data of one crate: file name to content.
type QueryData = BTreeMap<String, Vec<u8>>;

/// What was found for one crate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prepared {
    /// The crate.
    pub package: String,
    /// How many queries it has.
    pub queries: usize,
    /// What became of its data.
    pub outcome: Outcome,
}

/// What became of one crate's data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// They were right.
    UpToDate,
    /// They were not, and have been written.
    Written,
    /// They were not, and nothing was to be changed.
    OutOfDate,
    /// The crate does not compile; the compiler's message has been shown.
    Broken,
}

/// Prepares every crate that has checked queries, or only those that are named.
/// With `check`, changes nothing.
///
/// # Errors
/// When a migration is wrong, or Cargo cannot be started.
pub async fn sqlx_prepare(
    checkout: &Checkout,
    only: &[String],
    check: bool,
) -> anyhow::Result<Vec<Prepared>> {
    let root = checkout.root();
    let packages = packages(root)?;
    let has = |package: &Package, name: &str| root.join(&package.directory).join(name).is_dir();
    // Shared crates come first: services are compiled against their data.
    let (shared, services): (Vec<_>, Vec<_>) = packages
        .iter()
        .filter(|package| has(package, "migrations") || has(package, ".sqlx"))
        .partition(|package| is_shared(package));
    let mesh = Mesh::start(
        MeshOptions {
            durable: false,
            ..MeshOptions::servers()
        },
        |_| {},
    )
    .await?;
    let superuser_url = mesh.observed()?.superuser_url;

    let mut prepared = Vec::new();
    for package in in_build_order(shared.iter().chain(&services).copied().collect()) {
        if !only.is_empty() && !only.contains(&package.name) {
            continue;
        }
        if !has(package, ".sqlx") && !has_checked_queries(&root.join(&package.directory))? {
            continue;
        }
        let own = (!is_shared(package)).then_some(package);
        let migrated: Vec<&Package> = shared.iter().copied().chain(own).collect();
        let url = fresh_database(&superuser_url, &package.name, root, &migrated).await?;
        let directory = root.join(&package.directory).join(".sqlx");
        let before = read(&directory)?;
        let (queries, outcome) = match describe(root, package, &url)? {
            None => (before.len(), Outcome::Broken),
            Some(found) if found == before => (found.len(), Outcome::UpToDate),
            Some(found) if check => (found.len(), Outcome::OutOfDate),
            Some(found) => {
                replace(&directory, &found)?;
                (found.len(), Outcome::Written)
            }
        };
        prepared.push(Prepared {
            package: package.name.clone(),
            queries,
            outcome,
        });
    }
    tokio::task::spawn_blocking(|| mesh.stop()).await??;
    Ok(prepared)
}

fn is_shared(package: &Package) -> bool {
    package.directory.starts_with("shared")
}

/// Whether a source file of the crate names one of the `query!` macros.
fn has_checked_queries(directory: &Path) -> anyhow::Result<bool> {
    for file in rust_files(&directory.join("src"))? {
        let code = fs::read_to_string(file)?;
        if MACROS.iter().any(|name| code.contains(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Creates a database and applies the crates' migrations in order.
async fn fresh_database(
    superuser_url: &str,
    name: &str,
    root: &Path,
    migrated: &[&Package],
) -> anyhow::Result<String> {
    let name = name.replace('-', "_");
    let mut connection = PgConnection::connect(superuser_url).await?;
    // A crate's name: nothing to quote.
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await?;
    let (server, _) = superuser_url
        .rsplit_once('/')
        .context("the URL names a database")?;
    let url = format!("{server}/{name}");

    let mut connection = PgConnection::connect(&url).await?;
    sqlx::query("SELECT set_config('bursar.application_role', $1, false)")
        .bind(SUPERUSER)
        .execute(&mut connection)
        .await?;
    for package in migrated {
        let directory = root.join(&package.directory).join("migrations");
        if !directory.is_dir() {
            continue;
        }
        let mut migrator = Migrator::new(directory).await?;
        let table = format!("_migrations_{}", package.name.replace('-', "_"));
        migrator.dangerous_set_table_name(table);
        migrator
            .run(&mut connection)
            .await
            .with_context(|| format!("the migrations of {}", package.name))?;
    }
    connection.close().await?;
    Ok(url)
}

/// Compiles the crate against the database and collects what its queries are;
/// `None` when it does not compile.
fn describe(root: &Path, package: &Package, url: &str) -> anyhow::Result<Option<QueryData>> {
    let saved = std::env::temp_dir().join(format!(
        "bursar-sqlx-{}-{}",
        std::process::id(),
        package.name
    ));
    fs::create_dir_all(&saved)?;
    let found = (0..COMPILATIONS_MAX).find_map(|_| match compile(root, package, url, &saved) {
        Ok(Compiled::All) => Some(read(&saved).map(Some)),
        Ok(Compiled::Partly) => None,
        Ok(Compiled::Failed) => Some(Ok(None)),
        Err(error) => Some(Err(error)),
    });
    fs::remove_dir_all(&saved)?;
    found.with_context(|| format!("another build keeps compiling {} first", package.name))?
}

/// How far a compilation went.
enum Compiled {
    /// Every query of the crate was described.
    All,
    /// Another build, running beside this one, had compiled a part of the crate
    /// first, so Cargo did not do it again and its queries were not described.
    Partly,
    /// The crate does not compile.
    Failed,
}

fn compile(root: &Path, package: &Package, url: &str, saved: &Path) -> anyhow::Result<Compiled> {
    touch(&root.join(&package.directory))?;
    let program = crate::program::path()?;
    let output = cargo(root)
        .args(["check", "--quiet", "--all-targets"])
        .args(["--package", &package.name])
        .args(["--message-format", "json-render-diagnostics"])
        .env("RUSTC_WORKSPACE_WRAPPER", program)
        .env(WRAPPER_PACKAGE, &package.name)
        .env(WRAPPER_DATABASE_URL, url)
        .env(WRAPPER_DIRECTORY, saved)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        return Ok(Compiled::Failed);
    }
    let manifest = root.join(&package.directory).join("Cargo.toml");
    let is_stale = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok())
        .any(|artifact| artifact.manifest_path == manifest && artifact.is_stale());
    Ok(if is_stale {
        Compiled::Partly
    } else {
        Compiled::All
    })
}

/// A `compiler-artifact` message of Cargo.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    fresh: bool,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

impl Artifact {
    /// Whether code with queries was not compiled now. A build script has none.
    fn is_stale(&self) -> bool {
        self.fresh && !self.target.kind.iter().any(|kind| kind == "custom-build")
    }
}

/// Acts as Cargo's wrapper of rustc when [`compile`] runs this program as one;
/// returns only when it does not, or when rustc cannot be started.
///
/// Only the crate that is prepared may see its database. Its dependencies are
/// compiled with their own offline data: against this database they would be
/// wrong.
#[must_use]
pub fn act_as_wrapper() -> Option<io::Error> {
    let package = std::env::var_os(WRAPPER_PACKAGE)?;
    let mut arguments = std::env::args_os().skip(1);
    let mut rustc = Command::new(arguments.next()?);
    rustc
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env("SQLX_OFFLINE", "true");
    if std::env::var_os("CARGO_PKG_NAME") == Some(package) {
        rustc
            .env("DATABASE_URL", std::env::var_os(WRAPPER_DATABASE_URL)?)
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", std::env::var_os(WRAPPER_DIRECTORY)?);
    }
    Some(rustc.exec())
}

/// The crates so that each comes after those it depends on; else as they were.
fn in_build_order(mut packages: Vec<&Package>) -> Vec<&Package> {
    let mut ordered = Vec::new();
    while !packages.is_empty() {
        let is_ready = |package: &&Package| {
            !packages
                .iter()
                .any(|other| other.name != package.name && package.uses(&other.name))
        };
        // A cycle, which only tests can make, is entered where it comes first.
        let next = packages.iter().position(is_ready).unwrap_or_default();
        ordered.push(packages.remove(next));
    }
    ordered
}

/// Makes Cargo compile the crate again: it cannot know that the database, which
/// is no file, is another one.
fn touch(directory: &Path) -> anyhow::Result<()> {
    for root in ["src/lib.rs", "src/main.rs"] {
        let path = directory.join(root);
        if path.is_file() {
            fs::File::options()
                .append(true)
                .open(path)?
                .set_modified(SystemTime::now())?;
        }
    }
    Ok(())
}

fn read(directory: &Path) -> anyhow::Result<QueryData> {
    let mut data = QueryData::new();
    if !directory.is_dir() {
        return Ok(data);
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if let Some(name) = query_file_name(&path) {
            data.insert(name, fs::read(&path)?);
        }
    }
    Ok(data)
}

fn replace(directory: &Path, data: &QueryData) -> anyhow::Result<()> {
    let stale: Vec<PathBuf> = read(directory)?
        .keys()
        .filter(|name| !data.contains_key(*name))
        .map(PathBuf::from)
        .collect();
    for name in stale {
        fs::remove_file(directory.join(name))?;
    }
    fs::create_dir_all(directory)?;
    for (name, content) in data {
        fs::write(directory.join(name), content)?;
    }
    if data.is_empty() {
        fs::remove_dir(directory)?;
    }
    Ok(())
}

fn query_file_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let is_query = name.starts_with("query-")
        && path
            .extension()
            .is_some_and(|extension| extension == "json");
    is_query.then(|| name.to_owned())
}
