use super::Network;
use crate::link::{Ended, PeerId};

/// Releases a link's place if it is dropped before the link has a driver.
#[derive(Debug)]
pub(crate) struct Place {
    network: Network,
    id: PeerId,
    taken: bool,
}

impl Place {
    pub(crate) fn new(network: &Network, id: PeerId) -> Self {
        Self { network: network.clone(), id, taken: false }
    }

    /// The driver tells the network of the link's end from here on.
    pub(crate) fn take(mut self) {
        self.taken = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken {
            self.network.ended(self.id, Ended::Stopped);
        }
    }
}
