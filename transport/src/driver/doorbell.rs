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
        Arc::new(Self { rang: ArrayQueue::new(capacity.max(1)), driver: AtomicWaker::new() })
    }

    /// A waker for the connection with this key, and how to quiet it.
    pub(super) fn bell(self: &Arc<Self>, key: usize) -> Bell {
        let bell = Arc::new(Doorbell { key, rang: AtomicBool::new(false), all: self.clone() });
        Bell { waker: Waker::from(bell.clone()), bell }
    }

    pub(super) fn register(&self, driver: &Waker) {
        self.driver.register(driver);
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
            // There is a place for each connection's key. A bell that outlives its connection may
            // find none, and is of no interest any more.
            let _ = self.all.rang.push(self.key);
            self.all.driver.wake();
        }
    }
}
