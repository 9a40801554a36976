//! How many links each address has.

use std::collections::HashMap;
use std::net::IpAddr;

use deltawire_link::LinkId;

use crate::{CapacityError, NodeLimits};

/// The links whose address is known, and what each address has of them: a link counts until nothing
/// of it is left. What nobody has any more is forgotten, so there are no more entries than links and arrivals.
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
    /// Peers that are not let in yet.
    arriving: usize,
}

impl Count {
    fn check_pending(self, limits: NodeLimits) -> Result<(), CapacityError> {
        let limit = limits.max_pending_per_address;
        match self.pending + self.arriving >= limit {
            true => Err(CapacityError::PendingOfAddress { limit }),
            false => Ok(()),
        }
    }
}

impl Addresses {
    /// Counts a link that is about to be opened from this address, if it may have one more.
    pub(super) fn add(
        &mut self,
        id: LinkId,
        from: IpAddr,
        limits: NodeLimits,
    ) -> Result<(), CapacityError> {
        let NodeLimits { max_per_address, .. } = limits;
        let count = self.counts.get(&from).copied().unwrap_or_default();
        if count.all >= max_per_address {
            return Err(CapacityError::OfAddress { limit: max_per_address });
        }
        count.check_pending(limits)?;
        self.counts.insert(from, Count { all: count.all + 1, pending: count.pending + 1, ..count });
        self.of_links.insert(id, from);
        Ok(())
    }

    fn forget_empty(&mut self, address: IpAddr) {
        if self.counts.get(&address).is_some_and(|count| count.all + count.arriving == 0) {
            self.counts.remove(&address);
        }
    }

    /// This link was being opened, and is open now or will not be.
    pub(super) fn settled(&mut self, id: LinkId) {
        let address = self.of_links.get(&id);
        if let Some(count) = address.and_then(|address| self.counts.get_mut(address)) {
            count.pending -= 1;
        }
    }

    /// What counts as this link's counts as another's.
    pub(super) fn rename(&mut self, id: LinkId, other: LinkId) {
        if let Some(address) = self.of_links.remove(&id) {
            self.of_links.insert(other, address);
        }
    }

    /// Nothing of this link is left.
    pub(super) fn gone(&mut self, id: LinkId) {
        let Some(address) = self.of_links.remove(&id) else { return };
        let Some(count) = self.counts.get_mut(&address) else { return };
        count.all -= 1;
        self.forget_empty(address);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of_links.is_empty() && self.counts.is_empty()
    }
}

/// Peers that are not let in yet.
#[allow(dead_code, reason = "of kinds of links that let peers in by themselves")]
impl Addresses {
    /// Counts a peer that is not let in yet, if this address may have one more.
    pub(super) fn arrive(&mut self, from: IpAddr, limits: NodeLimits) -> Result<(), CapacityError> {
        let count = self.counts.get(&from).copied().unwrap_or_default();
        count.check_pending(limits)?;
        self.counts.insert(from, Count { arriving: count.arriving + 1, ..count });
        Ok(())
    }

    /// A peer that was not let in yet is none any more.
    pub(super) fn leave(&mut self, from: IpAddr) {
        let Some(count) = self.counts.get_mut(&from) else { return };
        count.arriving -= 1;
        self.forget_empty(from);
    }
}
