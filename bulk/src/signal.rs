//! Wakes whoever reads or writes a file: a thread natively, a task in a browser.

#[cfg(all(feature = "files", unix))]
use std::sync::{Condvar, MutexGuard, PoisonError};

/// Says that there may be something to do.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    #[cfg(all(feature = "files", unix))]
    condition: Condvar,
    #[cfg(all(feature = "files", target_arch = "wasm32"))]
    event: event_listener::Event,
}

impl Signal {
    pub(crate) fn notify(&self) {
        #[cfg(all(feature = "files", unix))]
        self.condition.notify_all();
        #[cfg(all(feature = "files", target_arch = "wasm32"))]
        self.event.notify(usize::MAX);
    }

    /// Waits, without the lock.
    #[cfg(all(feature = "files", unix))]
    pub(crate) fn wait<'a, T>(&self, locked: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.condition.wait(locked).unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when it is notified after this was called.
    #[cfg(all(feature = "files", target_arch = "wasm32"))]
    pub(crate) fn listen(&self) -> event_listener::EventListener {
        self.event.listen()
    }
}
