//! How many links each address has.

use std::collections::HashMap;
use std::net::IpAddr;

use deltawire_link::LinkId;

use crate::{CapacityError, NodeLimits};

/// The links whose address is known, and what each address has of them: a link counts until nothing
/// of it is left. What no link has any more is forgotten, so there are no more entries than links.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    of_links: HashMap<LinkId, IpAddr>,
    counts: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    /// Of these, those that are being opened.
    pending: usize,
}

impl Addresses {
    /// Counts a link that is about to be opened from this address, if it may have one more.
    pub(super) fn add(
        &mut self,
        id: LinkId,
        from: IpAddr,
        limits: NodeLimits,
    ) -> Result<(), CapacityError> {
        let NodeLimits { max_pending_per_address, max_per_address, .. } = limits;
        let Count { all, pending } = self.counts.get(&from).copied().unwrap_or_default();
        if all >= max_per_address {
            return Err(CapacityError::OfAddress { limit: max_per_address });
        }
        if pending >= max_pending_per_address {
            return Err(CapacityError::PendingOfAddress { limit: max_pending_per_address });
        }
        self.counts.insert(from, Count { all: all + 1, pending: pending + 1 });
        self.of_links.insert(id, from);
        Ok(())
    }

    /// This link was being opened, and is open now or will not be.
    pub(super) fn settled(&mut self, id: LinkId) {
        let address = self.of_links.get(&id);
        if let Some(count) = address.and_then(|address| self.counts.get_mut(address)) {
            count.pending -= 1;
        }
    }

    /// Nothing of this link is left.
    pub(super) fn gone(&mut self, id: LinkId) {
        let Some(address) = self.of_links.remove(&id) else { return };
        let Some(count) = self.counts.get_mut(&address) else { return };
        count.all -= 1;
        if count.all == 0 {
            self.counts.remove(&address);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of_links.is_empty() && self.counts.is_empty()
    }
}
