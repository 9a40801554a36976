//! The longest message that the peer takes on a channel.

use super::SendError;
use crate::sync::{Arc, AtomicUsize, Ordering};

/// What a channel's session tells its senders, who may be at work on other threads.
#[derive(Clone, Debug)]
pub(crate) struct MessageLimit(Arc<AtomicUsize>);

impl MessageLimit {
    /// None, until the peer has said what it takes.
    pub(crate) fn unknown() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }

    /// From now on messages with a longer body are refused.
    pub(crate) fn set(&self, max_len: usize) {
        // Nothing else is handed over with it.
        self.0.store(max_len, Ordering::Relaxed);
    }

    /// Whether the peer takes a message with a body of `len` bytes.
    #[inline]
    pub(crate) fn check(&self, len: usize) -> Result<(), SendError> {
        let allowed = self.0.load(Ordering::Relaxed);
        if len > allowed { Err(SendError::TooLongForPeer { len, allowed }) } else { Ok(()) }
    }
}
