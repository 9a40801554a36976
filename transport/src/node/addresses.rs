//! How many links each address has.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Full, NodeLimits};
use crate::link::PeerId;

/// The links whose address is known, and what each address has of them. What no link has any more
/// is forgotten, so there are no more entries than links.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    of_links: HashMap<PeerId, IpAddr>,
    counts: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Being opened.
    pending: usize,
    open: usize,
}

impl Addresses {
    /// Counts a link that is about to be opened from this address, if it may have one more.
    pub(super) fn add(&mut self, id: PeerId, from: IpAddr, limits: NodeLimits) -> Result<(), Full> {
        let NodeLimits { max_pending_per_address, max_per_address, .. } = limits;
        let Count { pending, open } = self.counts.get(&from).copied().unwrap_or_default();
        if pending + open >= max_per_address {
            return Err(Full::OfAddress { limit: max_per_address });
        }
        if pending >= max_pending_per_address {
            return Err(Full::PendingOfAddress { limit: max_pending_per_address });
        }
        self.counts.insert(from, Count { pending: pending + 1, open });
        self.of_links.insert(id, from);
        Ok(())
    }

    /// This link is open. It was pending.
    pub(super) fn opened(&mut self, id: PeerId) {
        let address = self.of_links.get(&id);
        if let Some(count) = address.and_then(|address| self.counts.get_mut(address)) {
            count.pending -= 1;
            count.open += 1;
        }
    }

    /// This link is over; `was_open` says how far it was.
    pub(super) fn ended(&mut self, id: PeerId, was_open: bool) {
        let Some(address) = self.of_links.remove(&id) else { return };
        let Some(count) = self.counts.get_mut(&address) else { return };
        if was_open {
            count.open -= 1;
        } else {
            count.pending -= 1;
        }
        if count.pending + count.open == 0 {
            self.counts.remove(&address);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of_links.is_empty() && self.counts.is_empty()
    }
}
