//! The settings file: everything about the gateway that the contract does not
//! say, such as where the services are.
//!
//! People write TOML, programs may write JSON; the file's extension tells which.
//! Unknown keys are refused, so that a misspelt limit cannot go unnoticed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the gateway is told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where callers connect: REST, gRPC and gRPC-Web on one port.
    #[serde(default = "default_listen")]
    pub listen: Address,
    /// Where Envoy's admin pages are; without it there are none.
    #[serde(default)]
    pub admin: Option<Address>,
    /// Whether gRPC reflection and gRPC health answer through the gateway.
    /// For development: reflection tells the whole contract to anybody.
    #[serde(default)]
    pub reflection: bool,
    /// How many proxies that append to `x-forwarded-for` stand before the
    /// gateway; 0 means that callers connect directly.
    #[serde(default)]
    pub trusted_proxy_hops: u32,
    /// The services by name, such as `identity`.
    pub services: BTreeMap<String, Upstream>,
    /// How tokens are verified.
    #[serde(default)]
    pub jwt: Jwt,
    /// Which browser pages may call.
    #[serde(default)]
    pub cors: Cors,
    /// How often a caller may call.
    #[serde(default)]
    pub rate_limits: RateLimits,
    /// How large things may get.
    #[serde(default)]
    pub limits: Limits,
    /// What is written about each request.
    #[serde(default)]
    pub access_log: AccessLog,
}

/// Where one service listens.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its gRPC address.
    pub grpc: Address,
    /// Its HTTP address; needed where the service has plain HTTP routes.
    #[serde(default)]
    pub http: Option<Address>,
}

/// How access tokens are verified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// Where identity's HTTP address serves the key set.
    pub jwks_path: String,
    /// How long the key set is kept before it is fetched anew, in seconds. A
    /// new key must be published for at least this long before it signs.
    pub jwks_cache_seconds: NonZeroU32,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            issuer: "https://identity.bursar.local".to_owned(),
            audience: "bursar".to_owned(),
            jwks_path: "/.well-known/jwks.json".to_owned(),
            jwks_cache_seconds: positive(60),
        }
    }
}

/// Which browser pages may call.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Their origins, such as `https://app.example.com`; none by default.
    pub origins: Vec<String>,
}

/// How often a caller may call, in units of an RPC's cost a minute. A bucket
/// holds a minute's worth and refills continuously.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// False for no limits at all.
    pub enabled: bool,
    /// Multiplies every number below, for load tests.
    pub scale: NonZeroU32,
    /// Calls without a token, by address.
    pub public_per_minute: NonZeroU32,
    /// Users' calls, by user.
    pub protected_per_minute: NonZeroU32,
    /// Operators' calls, by user.
    pub admin_per_minute: NonZeroU32,
    /// Calls that take money out, by user.
    pub withdrawal_per_minute: NonZeroU32,
    /// Plain HTTP routes (the key set, providers' callbacks), by address.
    pub plain_http_per_minute: NonZeroU32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            scale: positive(1),
            public_per_minute: positive(20),
            protected_per_minute: positive(100),
            admin_per_minute: positive(200),
            withdrawal_per_minute: positive(10),
            plain_http_per_minute: positive(6000),
        }
    }
}

/// How large things may get.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A request's body, in bytes.
    pub request_bytes: NonZeroU32,
    /// The body of a provider's callback, in bytes.
    pub callback_bytes: NonZeroU32,
    /// The body of a response to a REST caller, in bytes.
    pub response_bytes: NonZeroU32,
    /// Connections from callers at once.
    pub connections: NonZeroU32,
    /// Envoy's own memory, in bytes.
    pub heap_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: positive(1024 * 1024),
            callback_bytes: positive(64 * 1024),
            response_bytes: positive(4 * 1024 * 1024),
            connections: positive(20_000),
            heap_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// What is written about each request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// The file; without one the log goes to standard output.
    pub path: Option<PathBuf>,
    /// The form of a line.
    pub format: AccessLogFormat,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            path: None,
            format: AccessLogFormat::Json,
        }
    }
}

/// The form of an access log line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogFormat {
    /// An object a line.
    Json,
    /// A short line for people.
    Text,
    /// Nothing is written.
    Off,
}

/// A host, by IP address or name, and a port.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct Address {
    host: String,
    port: u16,
}

/// An address that is not `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not host:port")]
pub struct AddressInvalid(String);

impl Address {
    /// The host, without brackets around an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is an IP address and needs no resolving.
    pub fn is_ip(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressInvalid;

    fn try_from(text: String) -> Result<Self, AddressInvalid> {
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let host = host
                .strip_prefix('[')
                .and_then(|inner| inner.strip_suffix(']'))
                .unwrap_or(host);
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty()).then(|| Self {
                host: host.to_owned(),
                port,
            })
        });
        parsed.ok_or(AddressInvalid(text))
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's extension is neither `toml` nor `json`.
    #[error("{0}: the settings file must end in .toml or .json")]
    Extension(PathBuf),
    /// The file is not TOML, or not of the settings' form.
    #[error("{path}: {source}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// The file is not JSON, or not of the settings' form.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// When it cannot be read, or is not of the settings' form.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let read = || {
            fs::read_to_string(path).map_err(|source| SettingsError::Read {
                path: path.to_owned(),
                source,
            })
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => toml::from_str(&read()?).map_err(|source| SettingsError::Toml {
                path: path.to_owned(),
                source: Box::new(source),
            }),
            Some("json") => serde_json::from_str(&read()?).map_err(|source| SettingsError::Json {
                path: path.to_owned(),
                source,
            }),
            _ => Err(SettingsError::Extension(path.to_owned())),
        }
    }
}

fn default_listen() -> Address {
    Address {
        host: "0.0.0.0".to_owned(),
        port: 8080,
    }
}

/// A default that is written in this file.
fn positive(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the defaults are positive")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: &str = "
        [services]
        identity = { grpc = '127.0.0.1:1', http = 'identity.bursar.svc:2' }
        wallet = { grpc = '[::1]:3' }
    ";

    /// Only the services have no default, and the defaults are the promised ones.
    #[test]
    fn what_is_left_out_has_its_default() {
        let settings: Settings = toml::from_str(SHORTEST).unwrap();
        assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(settings.admin, None);
        assert!(!settings.reflection);
        assert!(settings.rate_limits.enabled);
        let numbers = [
            settings.rate_limits.public_per_minute,
            settings.rate_limits.protected_per_minute,
            settings.rate_limits.admin_per_minute,
            settings.rate_limits.withdrawal_per_minute,
        ];
        assert_eq!(numbers.map(NonZeroU32::get), [20, 100, 200, 10]);
        assert_eq!(settings.jwt.issuer, "https://identity.bursar.local");
        assert!(toml::from_str::<Settings>("").is_err());
    }

    /// An IPv6 address loses its brackets inside and has them in text.
    #[test]
    fn addresses_are_hosts_and_ports() {
        let settings: Settings = toml::from_str(SHORTEST).unwrap();
        let wallet = &settings.services["wallet"].grpc;
        assert_eq!((wallet.host(), wallet.port()), ("::1", 3));
        assert_eq!(wallet.to_string(), "[::1]:3");
        assert!(wallet.is_ip());
        let identity = settings.services["identity"].http.as_ref().unwrap();
        assert!(!identity.is_ip());
        for wrong in ["", "host", "host:", ":1", "host:0", "host:65536", "host:x"] {
            assert!(Address::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    /// A misspelt key is an error, at every level.
    #[test]
    fn unknown_keys_are_refused() {
        for wrong in [
            "listne = '127.0.0.1:1'",
            "[rate_limits]\nenabeld = false",
            "[jwt]\nkeys = ''",
            "[services.identity]\nport = 1",
        ] {
            let text = format!("{wrong}\n");
            assert!(toml::from_str::<Settings>(&text).is_err(), "{wrong}");
        }
    }

    /// A limit of zero would be a gateway that answers nobody; `enabled` is for that.
    #[test]
    fn limits_are_positive() {
        let text = format!("{SHORTEST}\n[rate_limits]\npublic_per_minute = 0\n");
        assert!(toml::from_str::<Settings>(&text).is_err());
    }

    /// The same settings read alike from TOML and from JSON.
    #[test]
    fn programs_may_write_json() {
        let settings: Settings = toml::from_str(SHORTEST).unwrap();
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    }
}
