//! Who has something to do: each connection wakes the driver by a bell of its own, so that the
//! driver never looks at those that are quiet.

use core::task::Waker;
use std::sync::Arc;
use std::task::Wake;

use super::flag::Flag;
use crate::sync::{ArrayQueue, AtomicWaker};

/// The keys of connections that rang, and the driver's own task.
#[derive(Debug)]
pub struct Doorbells {
    rang: ArrayQueue<usize>,
    /// Whether one rang that found no place.
    overflowed: Flag,
    driver: AtomicWaker,
}

/// One connection's bell.
#[derive(Debug)]
struct Doorbell {
    key: usize,
    rang: Flag,
    all: Arc<Doorbells>,
}

impl Doorbells {
    /// For at most so many connections.
    #[must_use]
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            rang: ArrayQueue::new(capacity.max(1)),
            overflowed: Flag::new(false),
            driver: AtomicWaker::new(),
        })
    }

    /// A waker for the connection with this key, and how to quiet it.
    #[must_use]
    pub fn bell(self: &Arc<Self>, key: usize) -> Bell {
        let bell = Arc::new(Doorbell { key, rang: Flag::new(false), all: self.clone() });
        Bell { waker: Waker::from(bell.clone()), bell }
    }

    /// Notes the driver's task, which is woken when one rings.
    pub fn register(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    /// Whether one rang whose key [`pop`](Self::pop) does not give: it may be anybody's.
    #[must_use]
    pub fn take_overflow(&self) -> bool {
        self.overflowed.take()
    }

    /// The key of the next one that rang.
    #[must_use]
    pub fn pop(&self) -> Option<usize> {
        self.rang.pop()
    }
}

/// A connection's bell, as its driver holds it.
#[derive(Debug)]
pub struct Bell {
    waker: Waker,
    bell: Arc<Doorbell>,
}

impl Bell {
    /// What rings it.
    #[must_use]
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Makes it ring anew from here on. What was written before it last rang is seen after this.
    pub fn quiet(&self) {
        self.bell.rang.take();
    }
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rang.raise() {
            // There is a place for each connection's key, but bells that outlive their connections
            // take places too.
            if self.all.rang.push(self.key).is_err() {
                self.all.overflowed.raise();
            }
            self.all.driver.wake();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_bell_rings_once_until_it_is_quieted() {
        let bells = Doorbells::new(2);
        let bell = bells.bell(7);
        bell.waker().wake_by_ref();
        bell.waker().wake_by_ref();
        assert_eq!((bells.pop(), bells.pop()), (Some(7), None));
        bell.waker().wake_by_ref();
        assert_eq!(bells.pop(), None);
        bell.quiet();
        bell.waker().wake_by_ref();
        assert_eq!(bells.pop(), Some(7));
        assert!(!bells.take_overflow());
    }

    #[test]
    fn a_bell_that_finds_no_place_because_of_old_ones_is_heard() {
        let bells = Doorbells::new(2);
        let (old, older, new) = (bells.bell(0), bells.bell(0), bells.bell(1));
        for bell in [&old, &older, &new] {
            bell.waker().wake_by_ref();
        }
        assert_eq!((bells.pop(), bells.pop(), bells.pop()), (Some(0), Some(0), None));
        assert!(bells.take_overflow());
        assert!(!bells.take_overflow());
    }
}
