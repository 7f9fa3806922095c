//! Ports: chosen free once, kept, and chosen again only when somebody took one.
//!
//! They come from below the range that Linux hands to outgoing connections, so
//! that a port cannot be lost to one while its process restarts.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

use crate::home::{Home, json};

const FIRST_PORT: u16 = 18_000;
const PORTS: u16 = 14_000;
const ATTEMPTS: usize = 1_000;

/// The ports of one mesh by name (`wallet.grpc`, `postgres`, …).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ports {
    ports: BTreeMap<String, u16>,
}

/// No port was free.
#[derive(Debug, thiserror::Error)]
#[error("no free port was found between {FIRST_PORT} and {}", FIRST_PORT + PORTS - 1)]
pub struct NoFreePort;

impl Ports {
    /// The ports kept in this home.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(home: &Home) -> io::Result<Self> {
        Ok(json::read(&home.ports())?.unwrap_or_default())
    }

    /// Keeps them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, home: &Home) -> io::Result<()> {
        json::write(&home.ports(), self)
    }

    /// The port of that name, chosen now if it has none yet.
    ///
    /// # Errors
    /// When every port is taken.
    pub fn get_or_choose(&mut self, name: &str) -> Result<u16, NoFreePort> {
        if let Some(port) = self.ports.get(name) {
            return Ok(*port);
        }
        let port = (0..ATTEMPTS)
            .map(|_| FIRST_PORT + rand::random_range(0..PORTS))
            .find(|port| !self.ports.values().any(|taken| taken == port) && is_free(*port))
            .ok_or(NoFreePort)?;
        self.ports.insert(name.to_owned(), port);
        Ok(port)
    }

    /// Forces a port.
    pub fn fix(&mut self, name: &str, port: u16) {
        self.ports.insert(name.to_owned(), port);
    }

    /// Forgets a port that somebody else took.
    pub fn forget(&mut self, name: &str) {
        self.ports.remove(name);
    }

    /// The port of that name, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u16> {
        self.ports.get(name).copied()
    }
}

/// Whether a server could listen on this loopback port now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

/// The loopback address with this port.
#[must_use]
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_kept_until_it_is_forgotten() {
        // The same name keeps its port; two names never share one.
        let mut ports = Ports::default();
        let first = ports.get_or_choose("a").unwrap();
        assert_eq!(first, ports.get_or_choose("a").unwrap());
        assert_ne!(first, ports.get_or_choose("b").unwrap());
        ports.forget("a");
        assert_eq!(ports.get("a"), None);
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        // A bound listener is seen.
        let listener = TcpListener::bind(loopback(0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}
