//! Who has something to do: each connection wakes the driver by a bell of its own, so that the
//! driver never looks at those that are quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

/// The keys of connections that rang, and the driver's own task.
#[derive(Debug)]
pub(super) struct Doorbells {
    rang: ArrayQueue<usize>,
    /// Whether one rang that found no place.
    overflowed: AtomicBool,
    driver: AtomicWaker,
}

/// One connection's bell.
struct Doorbell {
    key: usize,
    rang: AtomicBool,
    all: Arc<Doorbells>,
}

impl Doorbells {
    /// For at most so many connections.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            rang: ArrayQueue::new(capacity.max(1)),
            overflowed: AtomicBool::new(false),
            driver: AtomicWaker::new(),
        })
    }

    /// A waker for the connection with this key, and how to quiet it.
    pub(super) fn bell(self: &Arc<Self>, key: usize) -> Bell {
        let bell = Arc::new(Doorbell { key, rang: AtomicBool::new(false), all: self.clone() });
        Bell { waker: Waker::from(bell.clone()), bell }
    }

    pub(super) fn register(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    /// Whether one rang whose key [`pop`](Self::pop) does not give: it may be anybody's.
    pub(super) fn take_overflow(&self) -> bool {
        self.overflowed.swap(false, Ordering::SeqCst)
    }

    pub(super) fn pop(&self) -> Option<usize> {
        self.rang.pop()
    }
}

/// A connection's bell, as its driver holds it.
pub(super) struct Bell {
    pub(super) waker: Waker,
    bell: Arc<Doorbell>,
}

impl Bell {
    /// What rings from here on is told anew.
    pub(super) fn quiet(&self) {
        self.bell.rang.store(false, Ordering::SeqCst);
    }
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rang.swap(true, Ordering::SeqCst) {
            // There is a place for each connection's key, but bells that outlive their connections
            // take places too.
            if self.all.rang.push(self.key).is_err() {
                self.all.overflowed.store(true, Ordering::SeqCst);
            }
            self.all.driver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bell_rings_once_until_it_is_quieted() {
        let bells = Doorbells::new(2);
        let bell = bells.bell(7);
        bell.waker.wake_by_ref();
        bell.waker.wake_by_ref();
        assert_eq!((bells.pop(), bells.pop()), (Some(7), None));
        bell.waker.wake_by_ref();
        assert_eq!(bells.pop(), None);
        bell.quiet();
        bell.waker.wake_by_ref();
        assert_eq!(bells.pop(), Some(7));
        assert!(!bells.take_overflow());
    }

    #[test]
    fn a_bell_that_finds_no_place_because_of_old_ones_is_heard() {
        let bells = Doorbells::new(2);
        let (old, older, new) = (bells.bell(0), bells.bell(0), bells.bell(1));
        for bell in [&old, &older, &new] {
            bell.waker.wake_by_ref();
        }
        assert_eq!((bells.pop(), bells.pop(), bells.pop()), (Some(0), Some(0), None));
        assert!(bells.take_overflow());
        assert!(!bells.take_overflow());
    }
}
