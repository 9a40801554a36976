use std::sync::Arc;

use deltawire_link::{LinkEnded, LinkState, Undelivered};

use crate::network::Network;

/// A link's place in its node, from when it is begun until it has a driver: dropped before, it is released.
pub(crate) struct Reservation {
    network: Network,
    state: Arc<LinkState>,
    taken: bool,
}

impl Reservation {
    pub(crate) fn new(network: &Network, state: &Arc<LinkState>) -> Self {
        Self { network: network.clone(), state: state.clone(), taken: false }
    }

    #[cfg(any(test, all(feature = "webrtc", not(target_arch = "wasm32"))))]
    pub(crate) fn id(&self) -> deltawire_link::LinkId {
        self.state.id()
    }

    pub(crate) fn state(&self) -> &Arc<LinkState> {
        &self.state
    }

    /// The driver tells the network of the link's end from here on.
    pub(crate) fn take(mut self) {
        self.taken = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.taken {
            self.state.end(LinkEnded::Stopped, Undelivered::default());
            self.network.ended(self.state.id(), LinkEnded::Stopped);
            self.network.gone(self.state.id());
        }
    }
}
