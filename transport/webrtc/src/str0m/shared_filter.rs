use std::sync::{Mutex, MutexGuard, PoisonError};

use deltawire_channels::Delivery;
use deltawire_channels::waking::Flag;

use deltawire_sctp::Violation;
use deltawire_sctp::filter::{SctpFilter, Verdict};

/// The filter of one link, for DTLS, which str0m has, and the engine around str0m.
#[derive(Debug, Default)]
pub(super) struct SharedFilter {
    filter: Mutex<SctpFilter>,
    /// Whether the peer acknowledged anything since this was asked last.
    acknowledged: Flag,
    /// Whether the link has to end, and nobody knows yet.
    violated: Flag,
}

impl SharedFilter {
    fn filter(&self) -> MutexGuard<'_, SctpFilter> {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn configure(&self, receive_buffer: u32, deltas: u16, delivery: Delivery) {
        self.filter().configure(receive_buffer, deltas, delivery);
    }

    /// Whether the stack gets this packet of the peer's. What single chunks another stack is kept from, this
    /// one copes with.
    pub(super) fn admit(&self, packet: &[u8]) -> bool {
        let mut filter = self.filter();
        let admitted = filter.admit(packet) != Verdict::Drop;
        if filter.take_acknowledged() {
            self.acknowledged.raise();
        }
        self.tell(&filter);
        admitted
    }

    /// Notes what the stack sends.
    pub(super) fn sent(&self, packet: &[u8]) {
        let mut filter = self.filter();
        filter.sent(packet);
        self.tell(&filter);
    }

    fn tell(&self, filter: &SctpFilter) {
        if filter.is_violated() {
            self.violated.raise();
        }
    }

    /// Whether an acknowledgement of the peer came since the last call.
    pub(super) fn take_acknowledged(&self) -> bool {
        self.acknowledged.take()
    }

    /// Why the link has to end: once. It is asked all the time, so it takes the lock only if it has
    /// to.
    pub(super) fn take_violation(&self) -> Option<Violation> {
        // Pairs with the store of `tell`; the reason itself is behind the lock.
        self.violated.take().then(|| self.filter().take_violation()).flatten()
    }

    /// Whether the peer has begun an association.
    pub(super) fn has_begun(&self) -> bool {
        self.filter().has_begun()
    }
}
