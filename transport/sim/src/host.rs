use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A machine in the simulated network: where links begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub(super) usize);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}", self.0)
    }
}

/// What a host has for each of its links: a port, behind an address that can change, as behind a
/// NAT.
#[derive(Debug)]
pub(super) struct HostState {
    number: usize,
    /// How often it moved.
    moves: usize,
    links: u64,
}

const FIRST_PORT: u16 = 1_024;
/// After so many links the first port has its turn again.
const PORTS: u64 = (u16::MAX - FIRST_PORT) as u64;

impl HostState {
    pub(super) fn new(number: usize) -> Self {
        Self { number, moves: 0, links: 0 }
    }

    /// The address that a new link takes for its own.
    pub(super) fn new_address(&mut self) -> SocketAddr {
        let port = FIRST_PORT + (self.links % PORTS) as u16;
        self.links += 1;
        self.public((ip(10, self.number), port).into())
    }

    /// Where its sockets are bound.
    pub(super) fn address(&self) -> IpAddr {
        ip(10, self.number).into()
    }

    /// The local address of who is reached at this one now; `None` where that is nobody's any more.
    pub(super) fn local(&self, public: SocketAddr) -> Option<SocketAddr> {
        let local = SocketAddr::new(self.address(), public.port());
        (self.public(local) == public).then_some(local)
    }

    pub(super) fn change_address(&mut self) {
        self.moves += 1;
    }

    /// The address at which others see a link of this host.
    pub(super) fn public(&self, local: SocketAddr) -> SocketAddr {
        match self.moves {
            0 => local,
            moves => (ip(100 + (moves % 100) as u8, self.number), local.port()).into(),
        }
    }
}

/// The number of the host that has, or had, this address.
pub(super) fn number(address: IpAddr) -> Option<usize> {
    let IpAddr::V4(address) = address else { return None };
    let [_, high, middle, low] = address.octets();
    (u32::from_be_bytes([0, high, middle, low]) as usize).checked_sub(1)
}

fn ip(network: u8, number: usize) -> Ipv4Addr {
    let [.., high, middle, low] = (number as u64 + 1).to_be_bytes();
    Ipv4Addr::new(network, high, middle, low)
}
