//! Who has something to do: each connection wakes the driver by a waker of its own, so that the
//! driver never looks at those that have nothing.

use core::task::Waker;
use std::sync::Arc;
use std::task::Wake;

use super::flag::Flag;
use crate::sync::{ArrayQueue, AtomicWaker};

/// The keys of connections that were woken, and the driver's own task.
#[derive(Debug)]
pub struct ReadyQueue {
    keys: ArrayQueue<usize>,
    /// Whether one was woken that found no place.
    overflowed: Flag,
    driver: AtomicWaker,
}

/// One connection's place in the queue.
#[derive(Debug)]
struct ReadyEntry {
    key: usize,
    queued: Flag,
    queue: Arc<ReadyQueue>,
}

impl ReadyQueue {
    /// For at most so many connections.
    #[must_use]
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            keys: ArrayQueue::new(capacity.max(1)),
            overflowed: Flag::new(false),
            driver: AtomicWaker::new(),
        })
    }

    /// A waker for the connection with this key, and how to have it queued again.
    #[must_use]
    pub fn handle(self: &Arc<Self>, key: usize) -> ReadyHandle {
        let entry = Arc::new(ReadyEntry { key, queued: Flag::new(false), queue: self.clone() });
        ReadyHandle { waker: Waker::from(entry.clone()), entry }
    }

    /// Notes the driver's task, which is woken when one is.
    pub fn register(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    /// Whether one was woken whose key [`pop`](Self::pop) does not give: it may be anybody's.
    #[must_use]
    pub fn take_overflow(&self) -> bool {
        self.overflowed.take()
    }

    /// The key of the next one that was woken.
    #[must_use]
    pub fn pop(&self) -> Option<usize> {
        self.keys.pop()
    }
}

/// A connection's waker, as its driver holds it.
#[derive(Debug)]
pub struct ReadyHandle {
    waker: Waker,
    entry: Arc<ReadyEntry>,
}

impl ReadyHandle {
    /// What queues the connection's key.
    #[must_use]
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Has it queued anew when it is woken from here on. What was written before it was woken last is seen
    /// after this.
    pub fn rearm(&self) {
        self.entry.queued.take();
    }
}

impl Wake for ReadyEntry {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.raise() {
            // There is a place for each connection's key, but wakers that outlive their connections
            // take places too.
            if self.queue.keys.push(self.key).is_err() {
                self.queue.overflowed.raise();
            }
            self.queue.driver.wake();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_is_queued_once_until_it_is_rearmed() {
        let queue = ReadyQueue::new(2);
        let handle = queue.handle(7);
        handle.waker().wake_by_ref();
        handle.waker().wake_by_ref();
        assert_eq!((queue.pop(), queue.pop()), (Some(7), None));
        handle.waker().wake_by_ref();
        assert_eq!(queue.pop(), None);
        handle.rearm();
        handle.waker().wake_by_ref();
        assert_eq!(queue.pop(), Some(7));
        assert!(!queue.take_overflow());
    }

    #[test]
    fn one_that_finds_no_place_because_of_old_ones_is_noticed() {
        let queue = ReadyQueue::new(2);
        let (old, older, new) = (queue.handle(0), queue.handle(0), queue.handle(1));
        for handle in [&old, &older, &new] {
            handle.waker().wake_by_ref();
        }
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(0), Some(0), None));
        assert!(queue.take_overflow());
        assert!(!queue.take_overflow());
    }
}
