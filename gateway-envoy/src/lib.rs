//! Generates Envoy's configuration from the contract.
//!
//! Routes, tokens, rate classes and deadlines come from the options in
//! `proto/`; where the services are and how large the limits are comes from
//! [`Settings`]. Nothing is said twice: a new RPC is routed by being compiled.
//!
//! A module a concern: [`filters`] tells the order in which a request passes
//! them, [`routes`] what each request matches.

mod access_log;
mod body_limit;
mod bootstrap;
mod clusters;
mod contract;
mod cors;
mod envoy;
mod filters;
mod jwt;
mod listener;
mod local_replies;
mod plain_http;
mod rate_limits;
mod routes;
mod settings;
mod strict_json;
mod template;
mod transcoder;

use std::fs;
use std::path::{Path, PathBuf};

use bursar_contracts::policy;

pub use contract::ContractError;
pub use settings::{
    AccessLog, AccessLogFormat, Address, AddressInvalid, Cors, Jwt, Limits, RateLimits, Settings,
    SettingsError, Upstream,
};

/// The name of the configuration in the output directory.
pub const CONFIG_FILE: &str = "envoy.json";
/// The name of the descriptor set in the output directory.
pub const DESCRIPTORS_FILE: &str = "descriptors.binpb";

/// Why nothing could be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The contract has something that the gateway cannot serve.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The contract has RPCs of a service whose address the settings lack.
    #[error("the settings have no services.{0}.{1}")]
    NoAddress(String, &'static str),
    /// The settings have a service that the contract does not know.
    #[error("the contract has no service `{0}`")]
    UnknownService(String),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Writes Envoy's configuration and the descriptors it reads, and returns the
/// path of the configuration. The configuration names the descriptors by
/// absolute path, so the directory is not to be moved.
///
/// # Errors
/// When settings and contract do not fit, or a file cannot be written.
pub fn generate(settings: &Settings, output_dir: &Path) -> Result<PathBuf, GenerateError> {
    let write_error = |path: &Path| {
        let path = path.to_owned();
        |source| GenerateError::Write { path, source }
    };
    let rpcs = contract::rpcs()?;
    check_services(settings, &rpcs)?;
    fs::create_dir_all(output_dir).map_err(write_error(output_dir))?;
    let output_dir = fs::canonicalize(output_dir).map_err(write_error(output_dir))?;

    let descriptors = output_dir.join(DESCRIPTORS_FILE);
    fs::write(&descriptors, policy::DESCRIPTOR_SET).map_err(write_error(&descriptors))?;

    let config = output_dir.join(CONFIG_FILE);
    let bootstrap = bootstrap::bootstrap(settings, &rpcs, &descriptors);
    fs::write(&config, format!("{bootstrap:#}\n")).map_err(write_error(&config))?;
    Ok(config)
}

/// The routes of the contract as a table for people.
///
/// # Errors
/// When the contract has something that the gateway cannot serve.
pub fn route_table() -> Result<String, ContractError> {
    Ok(routes::table(&contract::rpcs()?))
}

fn check_services(settings: &Settings, rpcs: &[contract::Rpc]) -> Result<(), GenerateError> {
    let routed = rpcs.iter().filter(|rpc| rpc.is_routed());
    let needed: Vec<&str> = routed.map(|rpc| rpc.upstream.as_str()).collect();
    for service in settings.services.keys() {
        if !needed.contains(&service.as_str()) {
            return Err(GenerateError::UnknownService(service.clone()));
        }
    }
    for service in needed {
        if !settings.services.contains_key(service) {
            return Err(GenerateError::NoAddress(service.to_owned(), "grpc"));
        }
    }
    for route in &plain_http::PLAIN_ROUTES {
        let upstream = settings.services.get(route.upstream);
        if upstream.is_none_or(|upstream| upstream.http.is_none()) {
            return Err(GenerateError::NoAddress(route.upstream.to_owned(), "http"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Settings {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/settings.toml");
        Settings::read(Path::new(path)).unwrap()
    }

    fn check(settings: &Settings) -> Result<(), GenerateError> {
        check_services(settings, &contract::rpcs().unwrap())
    }

    /// The example is complete, and says of every default what it is.
    #[test]
    fn the_example_has_the_defaults() {
        let settings = example();
        check(&settings).unwrap();
        assert_eq!(settings.jwt, Jwt::default());
        assert_eq!(settings.rate_limits, RateLimits::default());
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.access_log, AccessLog::default());
    }

    /// A service without an address, or an address without a service, is an
    /// error now instead of a 503 later.
    #[test]
    fn settings_and_contract_fit() {
        let mut settings = example();
        let wallet = settings.services.remove("wallet").unwrap();
        assert!(
            matches!(check(&settings), Err(GenerateError::NoAddress(name, "grpc")) if name == "wallet")
        );
        settings
            .services
            .insert("wallet".to_owned(), wallet.clone());
        settings.services.get_mut("identity").unwrap().http = None;
        assert!(
            matches!(check(&settings), Err(GenerateError::NoAddress(name, "http")) if name == "identity")
        );
        settings.services.insert("wallets".to_owned(), wallet);
        assert!(
            matches!(check(&settings), Err(GenerateError::UnknownService(name)) if name == "wallets")
        );
    }
}
