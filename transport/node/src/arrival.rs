use std::net::{IpAddr, Ipv6Addr};

use crate::CapacityError;
use crate::network::Network;

/// A place among those that are not let in yet: dropped, it is free.
#[derive(Debug)]
pub(crate) struct Arrival {
    network: Network,
    /// Where the peer is, once it has shown that it is there.
    from: Option<IpAddr>,
}

impl Arrival {
    /// For a peer at `from`, if it has shown that it is there.
    pub(crate) fn begin(network: &Network, from: Option<IpAddr>) -> Result<Self, CapacityError> {
        let from = from.map(counted_as);
        network.arrivals(|manager| manager.arrive(from))?;
        Ok(Self { network: network.clone(), from })
    }

    /// The peer has shown that it is at this address.
    #[cfg(feature = "quic")]
    pub(crate) fn validate(&mut self, from: IpAddr) -> Result<(), CapacityError> {
        if self.from.is_none() {
            let from = counted_as(from);
            self.network.arrivals(|manager| manager.validated(from))?;
            self.from = Some(from);
        }
        Ok(())
    }

    /// Whether the peer has shown that it is there.
    #[cfg(feature = "quic")]
    pub(crate) fn is_validated(&self) -> bool {
        self.from.is_some()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.network.arrivals(|manager| manager.leave(self.from));
    }
}

/// The address as limits count it: of IPv6 the first 64 bits, which is what one host has.
pub(crate) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}
