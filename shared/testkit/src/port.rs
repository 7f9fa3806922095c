//! A port of the test's own, for servers that must be found at the same address
//! after they were away, and for addresses at which nobody may answer.
//!
//! A port that the kernel chose and that is let go again can be lost in between:
//! to another test that asks for one, or to any outgoing connection. These ports
//! come from below the range of outgoing connections, and a UDP socket on the same
//! number keeps them from everybody else who takes theirs from here.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Below what Linux hands out, and below what `make up` chooses from.
const PORTS: std::ops::Range<u16> = 10_000..18_000;
const ATTEMPTS: usize = 1_000;

/// A loopback port that is the test's for as long as this exists.
#[derive(Debug)]
pub struct ClaimedPort {
    address: SocketAddr,
    _claim: UdpSocket,
}

impl ClaimedPort {
    /// Claims a port that nobody listens on.
    pub fn claim() -> Self {
        (0..ATTEMPTS)
            .find_map(|_| Self::try_claim(rand::random_range(PORTS)))
            .expect("one of so many ports is free")
    }

    fn try_claim(port: u16) -> Option<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let claim = UdpSocket::bind(address).ok()?;
        TcpListener::bind(address).ok()?;
        Some(Self {
            address,
            _claim: claim,
        })
    }

    /// Where a server may listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is claimed, or listened on, is not given to another; what was let go is.
    #[test]
    fn a_port_has_one_owner() {
        let first = ClaimedPort::claim();
        let port = first.address().port();
        assert!(ClaimedPort::try_claim(port).is_none(), "claimed");
        drop(first);
        let again = ClaimedPort::try_claim(port).expect("nobody has it");
        let listener = TcpListener::bind(again.address()).expect("the owner may listen");
        drop(again);
        assert!(ClaimedPort::try_claim(port).is_none(), "listened on");
        drop(listener);
    }
}
