use std::sync::Arc;

use super::Network;
use crate::link::{Ended, Shared, Undelivered};

/// Releases a link's place if it is dropped before the link has a driver.
pub(crate) struct Place {
    network: Network,
    shared: Arc<Shared>,
    taken: bool,
}

impl Place {
    pub(crate) fn new(network: &Network, shared: &Arc<Shared>) -> Self {
        Self { network: network.clone(), shared: shared.clone(), taken: false }
    }

    /// The driver tells the network of the link's end from here on.
    pub(crate) fn take(mut self) {
        self.taken = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken {
            self.shared.end(Ended::Stopped, Undelivered::default());
            self.network.ended(self.shared.id(), Ended::Stopped);
            self.network.gone(self.shared.id());
        }
    }
}
