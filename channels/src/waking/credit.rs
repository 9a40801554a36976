use core::task::Waker;

use crate::sync::{AtomicUsize, AtomicWaker, Ordering};

/// Bytes that any thread gives back and that one collects.
#[derive(Debug)]
pub struct Credit {
    bytes: AtomicUsize,
    waker: AtomicWaker,
}

impl Credit {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: AtomicUsize::new(0), waker: AtomicWaker::new() }
    }

    /// Gives `bytes` back, and wakes who collects.
    pub fn give_back(&self, bytes: usize) {
        // Release: pairs with the exchange in `collect`. By exchange, so that it also releases what
        // other threads did with theirs.
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Has `waker` woken when something is given back. Collect after this.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Bytes that were given back since the last time. Costs a plain load if there are none.
    #[inline]
    pub fn collect(&self) -> usize {
        // The first look decides nothing but whether to look again: what was given back before
        // `register` is seen by it, as that acquires what the last wake-up released.
        if self.bytes.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.bytes.swap(0, Ordering::AcqRel)
    }
}

impl Default for Credit {
    fn default() -> Self {
        Self::new()
    }
}
