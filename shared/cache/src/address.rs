//! Addresses of Redis: one server, a master that sentinels name, or a cluster.
//!
//! - `redis://[user:password@]host:port[/db]`
//! - `redis+sentinel://[user:password@]host:port,host:port/<master name>[/<db>]`;
//!   user and password are for the master, sentinels are asked without
//! - `redis+cluster://[user:password@]host:port,host:port`
//!
//! TLS (`rediss`) is not built in, since no other part of the tree brings a TLS
//! stack: Redis is reached on a private network or through a TLS sidecar.

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisError, RedisResult};

use crate::connection::Limits;

/// Why an address cannot be used. No variant shows the address, since it may
/// hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// TLS was asked for.
    #[error(
        "rediss: TLS is not built in; use a private network or a TLS sidecar and redis://, \
         redis+sentinel:// or redis+cluster://"
    )]
    Tls,
    /// The scheme is none of ours.
    #[error("the address begins with none of redis://, redis+sentinel:// and redis+cluster://")]
    Scheme,
    /// No host, or a port that is no number.
    #[error("the address names no host and port")]
    Host,
    /// A sentinel address without its master.
    #[error("the sentinel address names no master: redis+sentinel://host:port/<master name>")]
    MasterName,
    /// A database that is no number, or one on a cluster.
    #[error("the address names no usable database")]
    Database,
    /// The client library refuses it.
    #[error("the address cannot be used")]
    Refused(#[source] RedisError),
}

/// Where to connect to.
pub(crate) enum Topology {
    Single(Client),
    Sentinel(Sentinels),
    Cluster(Box<ClusterClient>),
}

/// A master that sentinels know by name.
pub(crate) struct Sentinels {
    hosts: Vec<(String, u16)>,
    master: String,
    database: i64,
    credentials: Credentials,
}

#[derive(Default)]
struct Credentials {
    user: Option<String>,
    password: Option<String>,
}

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

impl Topology {
    pub(crate) fn parse(address: &str, limits: Limits) -> Result<Self, AddressError> {
        let (scheme, rest) = address.split_once("://").ok_or(AddressError::Scheme)?;
        match scheme {
            "redis" => Ok(Self::Single(
                Client::open(address).map_err(AddressError::Refused)?,
            )),
            "redis+sentinel" => sentinels(rest).map(Self::Sentinel),
            "redis+cluster" => cluster(rest, limits).map(|client| Self::Cluster(Box::new(client))),
            "rediss" | "rediss+sentinel" | "rediss+cluster" => Err(AddressError::Tls),
            _ => Err(AddressError::Scheme),
        }
    }
}

impl Sentinels {
    pub(crate) fn database(&self) -> i64 {
        self.database
    }

    /// A client that asks the sentinels anew.
    pub(crate) fn client(&self) -> RedisResult<SentinelClient> {
        let hosts = self
            .hosts
            .iter()
            .map(|(host, port)| ConnectionAddr::Tcp(host.clone(), *port));
        let mut builder =
            SentinelClientBuilder::new(hosts, &self.master, SentinelServerType::Master)?
                .set_client_to_redis_db(self.database);
        if let Some(user) = &self.credentials.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.credentials.password {
            builder = builder.set_client_to_redis_password(password);
        }
        builder.build()
    }
}

fn sentinels(rest: &str) -> Result<Sentinels, AddressError> {
    let (authority, path) = rest.split_once('/').ok_or(AddressError::MasterName)?;
    let (credentials, hosts) = authority_parts(authority, DEFAULT_SENTINEL_PORT)?;
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() {
        return Err(AddressError::MasterName);
    }
    Ok(Sentinels {
        hosts,
        master: decoded(master)?,
        database: match database {
            "" => 0,
            number => number.parse().map_err(|_| AddressError::Database)?,
        },
        credentials,
    })
}

fn cluster(rest: &str, limits: Limits) -> Result<ClusterClient, AddressError> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(path, "" | "0") {
        return Err(AddressError::Database);
    }
    let (credentials, hosts) = authority_parts(authority, DEFAULT_PORT)?;
    let nodes = hosts
        .into_iter()
        .map(|(host, port)| ConnectionAddr::Tcp(host, port).into_connection_info())
        .collect::<RedisResult<Vec<_>>>()
        .map_err(AddressError::Refused)?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(limits.connect)
        .response_timeout(limits.response)
        .retries(1);
    if let Some(user) = credentials.user {
        builder = builder.username(user);
    }
    if let Some(password) = credentials.password {
        builder = builder.password(password);
    }
    builder.build().map_err(AddressError::Refused)
}

fn authority_parts(
    authority: &str,
    default_port: u16,
) -> Result<(Credentials, Vec<(String, u16)>), AddressError> {
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            let some = |text: &str| match text {
                "" => Ok(None),
                text => decoded(text).map(Some),
            };
            let credentials = Credentials {
                user: some(user)?,
                password: some(password)?,
            };
            (credentials, hosts)
        }
        None => (Credentials::default(), authority),
    };
    let hosts = hosts
        .split(',')
        .map(|host| match host.rsplit_once(':') {
            Some((name, port)) => Ok((name, port.parse().map_err(|_| AddressError::Host)?)),
            None => Ok((host, default_port)),
        })
        .map(|host| match host? {
            ("", _) => Err(AddressError::Host),
            (name, port) => Ok((name.to_owned(), port)),
        })
        .collect::<Result<_, _>>()?;
    Ok((credentials, hosts))
}

/// Text with its `%xx` resolved.
fn decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(byte.ok_or(AddressError::Host)?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Result<Topology, AddressError> {
        Topology::parse(address, Limits::default())
    }

    /// Each kind of address is understood as what it names.
    #[test]
    fn addresses_are_understood() {
        assert!(matches!(
            parse("redis://:p@localhost:6379/1"),
            Ok(Topology::Single(_))
        ));
        assert!(matches!(
            parse("redis+cluster://a:1,b:2"),
            Ok(Topology::Cluster(_))
        ));
        let Ok(Topology::Sentinel(sentinels)) = parse("redis+sentinel://u:p%40ss@a:1,b/main/3")
        else {
            panic!("a sentinel address");
        };
        assert_eq!(
            sentinels.hosts,
            [("a".to_owned(), 1), ("b".to_owned(), DEFAULT_SENTINEL_PORT)]
        );
        assert_eq!((sentinels.master.as_str(), sentinels.database), ("main", 3));
        assert_eq!(sentinels.credentials.password.as_deref(), Some("p@ss"));
        assert_eq!(sentinels.credentials.user.as_deref(), Some("u"));
    }

    /// What cannot be used is refused at start, and TLS says so.
    #[test]
    fn unusable_addresses_are_refused() {
        assert!(matches!(parse("rediss://a:1"), Err(AddressError::Tls)));
        assert!(matches!(parse("http://a:1"), Err(AddressError::Scheme)));
        assert!(matches!(parse("a:1"), Err(AddressError::Scheme)));
        assert!(matches!(
            parse("redis+sentinel://a:1"),
            Err(AddressError::MasterName)
        ));
        assert!(matches!(
            parse("redis+sentinel://a:x/main"),
            Err(AddressError::Host)
        ));
        assert!(matches!(
            parse("redis+cluster://a:1/3"),
            Err(AddressError::Database)
        ));
        assert!(matches!(parse("redis+cluster://"), Err(AddressError::Host)));
    }
}
