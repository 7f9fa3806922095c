//! `directions`: who may use whom.
//!
//! The house has few rules about this, and they are what keeps it a house:
//!
//! - services use `shared/`, never each other; `shared/` never uses a service;
//! - inside a service, `domain` is pure: no I/O, no clock, no randomness, no
//!   transport, and nothing of its crate but itself;
//! - `store` knows SQL and the domain, not RPCs or jobs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::workspace::{Package, packages, rust_files};

mod names;

use names::{names_used, test_only_declarations};

/// Crates that `domain` may name: values and errors.
const PURE_CRATES: [&str; 10] = [
    "alloc",
    "bursar_aip",
    "bursar_money",
    "chrono",
    "core",
    "jiff",
    "std",
    "thiserror",
    "time",
    "uuid",
];

/// The only module of `bursar_aip` that `domain` may use.
const IDS: &[&str] = &["bursar_aip", "id"];

/// What `domain` may not use of the crates it may: clocks, randomness, I/O.
const AMBIENT: [&[&str]; 14] = [
    &["std", "env"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["OffsetDateTime", "now_utc"],
    &["OffsetDateTime", "now_local"],
    &["Uuid", "new_v4"],
    &["Uuid", "now_v7"],
    &["Timestamp", "now"],
];

/// A rule that is broken, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The file or crate.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

/// Checks the workspace at `root`.
///
/// # Errors
/// When the workspace or a source file cannot be read or parsed.
pub fn check(root: &Path) -> anyhow::Result<Vec<Violation>> {
    let packages = packages(root)?;
    let mut violations = crate_directions(&packages);
    for package in packages.iter().filter(|package| is_service(package)) {
        let source = root.join(&package.directory).join("src");
        let files = rust_files(&source)?;
        let test_only = test_only_modules(&files)?;
        for file in files {
            let Some(layer) = layer_of(&source, &file) else {
                continue;
            };
            if test_only
                .iter()
                .any(|module| file.with_extension("").starts_with(module))
            {
                continue;
            }
            let code = fs::read_to_string(&file)?;
            let place = file
                .strip_prefix(root)
                .unwrap_or(&file)
                .display()
                .to_string();
            let broken = layer_violations(layer, &code)
                .with_context(|| format!("{place} cannot be parsed"))?;
            violations.extend(broken.into_iter().map(|message| Violation {
                place: place.clone(),
                message,
            }));
        }
    }
    Ok(violations)
}

/// The layers that have rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Layer {
    Domain,
    Store,
}

fn crate_directions(packages: &[Package]) -> Vec<Violation> {
    let service = |name: &str| packages.iter().find(|p| p.name == name && is_service(p));
    let mut violations = Vec::new();
    for package in packages {
        let is_shared = package.directory.starts_with("shared");
        if !is_shared && !is_service(package) {
            continue;
        }
        // A service's tests may play against the real other service.
        let used = package
            .dependencies
            .iter()
            .filter(|used| is_shared || !used.is_development);
        let services = used.filter_map(|used| service(&used.name));
        for service in services.filter(|service| service.name != package.name) {
            let rule = if is_shared {
                "shared crates use no service"
            } else {
                "services talk through the contract, not through each other's code"
            };
            violations.push(Violation {
                place: package.directory.join("Cargo.toml").display().to_string(),
                message: format!("depends on {}: {rule}", service.name),
            });
        }
    }
    violations
}

fn is_service(package: &Package) -> bool {
    package.directory.starts_with("services")
}

fn layer_of(source: &Path, file: &Path) -> Option<Layer> {
    let inside = file.strip_prefix(source).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    match first.strip_suffix(".rs").unwrap_or(first) {
        "domain" => Some(Layer::Domain),
        "store" => Some(Layer::Store),
        _ => None,
    }
}

/// The places of modules that are declared `#[cfg(test)] mod name;`, as paths
/// without the extension, so that a module's own modules are below it.
fn test_only_modules(files: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut modules = Vec::new();
    for file in files {
        let code = fs::read_to_string(file)?;
        let names = test_only_declarations(&code)
            .with_context(|| format!("{} cannot be parsed", file.display()))?;
        let is_root = ["lib.rs", "main.rs", "mod.rs"]
            .iter()
            .any(|root| file.ends_with(root));
        let directory = if is_root {
            file.parent().unwrap_or(file).to_owned()
        } else {
            file.with_extension("")
        };
        modules.extend(names.iter().map(|name| directory.join(name)));
    }
    Ok(modules)
}

fn layer_violations(layer: Layer, code: &str) -> syn::Result<Vec<String>> {
    let mut violations: Vec<String> = names_used(code)?
        .iter()
        .filter_map(|name| match layer {
            Layer::Domain => domain_violation(name),
            Layer::Store => store_violation(name),
        })
        .collect();
    violations.sort();
    violations.dedup();
    Ok(violations)
}

fn domain_violation(name: &names::Name) -> Option<String> {
    let shown = name.shown();
    let segments = name.segments();
    if segments.first() == Some(&"crate") {
        let stays = segments.get(1) == Some(&"domain");
        return (!stays).then(|| format!("domain uses {shown}: of its crate it knows only itself"));
    }
    if AMBIENT.iter().any(|path| contains(&segments, path)) {
        return Some(format!(
            "domain uses {shown}: time, chance and the world are passed in"
        ));
    }
    if !name.is_external() {
        return None;
    }
    let first = segments.first()?;
    if !PURE_CRATES.contains(first) {
        return Some(format!(
            "domain uses {shown}: it knows only values ({first} is not pure)"
        ));
    }
    let is_aip = *first == "bursar_aip" && !segments.starts_with(IDS);
    is_aip.then(|| format!("domain uses {shown}: of bursar_aip it may use the ids"))
}

fn store_violation(name: &names::Name) -> Option<String> {
    let segments = name.segments();
    let upward = segments.first() == Some(&"crate")
        && segments
            .get(1)
            .is_some_and(|module| ["rpc", "jobs"].contains(module));
    upward.then(|| {
        format!(
            "store uses {}: it serves RPCs and jobs, not the reverse",
            name.shown()
        )
    })
}

fn contains(segments: &[&str], path: &[&str]) -> bool {
    segments.windows(path.len()).any(|window| window == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn domain(code: &str) -> Vec<String> {
        layer_violations(Layer::Domain, code).unwrap()
    }

    fn store(code: &str) -> Vec<String> {
        layer_violations(Layer::Store, code).unwrap()
    }

    fn package(name: &str, directory: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            directory: PathBuf::from(directory),
            dependencies: dependencies
                .iter()
                .map(|name| Dependency {
                    name: name.trim_start_matches("dev:").to_owned(),
                    is_development: name.starts_with("dev:"),
                })
                .collect(),
        }
    }

    #[test]
    fn a_pure_domain_passes() {
        // Values, ids, money, errors and its own modules are all it needs.
        let code = "
            use std::collections::{BTreeMap, HashMap as Map};
            use bursar_money::Money;
            use bursar_aip::id::WalletId;
            use time::OffsetDateTime;
            use super::posting::Posting;
            use crate::domain::entry::{self, Entry};
            mod inner { pub fn f() {} }
            #[derive(Debug, thiserror::Error)]
            #[error(\"refused\")]
            struct Refused;
            fn f(now: OffsetDateTime) -> Result<(), Refused> {
                let _ = (inner::f(), i64::try_from(1_u64), char::is_whitespace);
                entry::check(now)
            }
        ";
        assert_eq!(domain(code), Vec::<String>::new());
    }

    #[test]
    fn a_domain_that_reaches_out_is_named() {
        // Imports, groups, renames, paths in expressions, types and attributes.
        for code in [
            "use tonic::Status;",
            "use ::sqlx as db;",
            "use {std::fmt, tokio::{self as runtime}};",
            "fn f() -> prost_types::Timestamp { todo() }",
            "fn f() { sqlx::query(\"SELECT 1\"); }",
            "#[derive(serde::Serialize)] struct S;",
            "use bursar_contracts::wallet::v1::Wallet;",
            "use bursar_aip::page::Token;",
            "use crate::store::wallets;",
            "fn f() { crate::rpc::create(); }",
            "extern crate tokio;",
        ] {
            assert_eq!(domain(code).len(), 1, "{code}: {:?}", domain(code));
        }
    }

    #[test]
    fn a_domain_that_asks_for_the_time_is_named() {
        // The clock and chance are passed in, whatever way they are imported.
        for code in [
            "use std::time::SystemTime;",
            "use std::time::{Duration, Instant};",
            "fn f() -> u64 { time::OffsetDateTime::now_utc(); 1 }",
            "use time::OffsetDateTime; fn f() { let now = OffsetDateTime::now_utc(); }",
            "use uuid::Uuid; fn f() -> Uuid { Uuid::now_v7() }",
            "use std::fs;",
        ] {
            assert_eq!(domain(code).len(), 1, "{code}: {:?}", domain(code));
        }
    }

    #[test]
    fn tests_inside_the_domain_may_use_what_they_need() {
        // Test code is not shipped.
        let code = "#[cfg(test)] mod tests { use proptest::prelude::*; use super::*; }";
        assert_eq!(domain(code), Vec::<String>::new());
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_found() {
        // By their declaration, whatever they are called.
        let code = "#[cfg(test)] mod properties; mod posting; #[cfg(test)] mod inline {}";
        assert_eq!(test_only_declarations(code).unwrap(), ["properties"]);
    }

    #[test]
    fn a_store_that_knows_its_callers_is_named() {
        // SQL and domain yes, RPCs and jobs no.
        assert_eq!(
            store("use sqlx::PgConnection; use crate::domain::Wallet;"),
            Vec::<String>::new()
        );
        assert_eq!(store("use crate::rpc::context;").len(), 1);
        assert_eq!(store("fn f() { crate::jobs::relay::wake(); }").len(), 1);
    }

    #[test]
    fn crates_that_use_services_are_named() {
        // A service may not use another one, and a shared crate none.
        let good = [
            package(
                "bursar-wallet",
                "services/wallet",
                &["bursar-money", "sqlx"],
            ),
            package(
                "bursar-transaction",
                "services/transaction",
                &["dev:bursar-wallet"],
            ),
            package("bursar-money", "shared/money", &[]),
            package("bursar-gateway", "gateway-envoy", &["bursar-contracts"]),
        ];
        assert_eq!(crate_directions(&good), Vec::new());
        let bad = [
            package("bursar-wallet", "services/wallet", &["bursar-identity"]),
            package("bursar-identity", "services/identity", &[]),
            package("bursar-testkit", "shared/testkit", &["dev:bursar-identity"]),
        ];
        assert_eq!(crate_directions(&bad).len(), 2);
    }

    #[test]
    fn layers_are_found_by_their_place() {
        // Both `domain.rs` and `domain/` are the domain; only at the crate's top.
        let source = Path::new("/s/src");
        assert_eq!(
            layer_of(source, Path::new("/s/src/domain.rs")),
            Some(Layer::Domain)
        );
        assert_eq!(
            layer_of(source, Path::new("/s/src/domain/a/b.rs")),
            Some(Layer::Domain)
        );
        assert_eq!(
            layer_of(source, Path::new("/s/src/store/wallets.rs")),
            Some(Layer::Store)
        );
        assert_eq!(layer_of(source, Path::new("/s/src/rpc/domain.rs")), None);
    }
}
