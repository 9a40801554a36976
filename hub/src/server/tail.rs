//! The newest deltas of a document that somebody reads, as a list that is read without a lock.
//!
//! Each node holds a run and, once there is one, its successor. A reader holds a node by a weak reference: it reads on for as
//! long as the node is kept, and asks the log when it is not any more. So whoever is slow keeps nothing alive.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use deltawire_channels::waking::Flag;
use deltawire_store::{Epoch, Position, Run};

/// A run of a document's deltas.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) run: Run,
    next: OnceLock<Weak<Node>>,
    /// Whether there is more in the log behind it, of a batch that has begun: whoever takes the shard's lock ends it. It stays up where the
    /// batch brought a successor, so that nobody looks between the two and finds neither.
    more: Flag,
}

impl Node {
    /// A run by itself.
    pub(crate) fn alone(run: Run) -> Arc<Self> {
        Arc::new(Self { run, next: OnceLock::new(), more: Flag::new(false) })
    }

    /// The one behind it, if there is one yet.
    pub(crate) fn next(&self) -> Option<&Weak<Self>> {
        self.next.get()
    }

    /// Whether a batch has begun behind it.
    pub(crate) fn has_more(&self) -> bool {
        self.more.is_raised()
    }
}

/// The nodes of a document that are kept: at least the newest.
#[derive(Debug)]
pub(crate) struct Tail {
    nodes: VecDeque<Arc<Node>>,
    /// Of frames in them.
    bytes: usize,
}

impl Tail {
    /// What follows comes from `end` on.
    pub(crate) fn new(epoch: Epoch, end: Position) -> Self {
        let run = Run { epoch, first: end, next: end, records: Vec::new() };
        Self { nodes: VecDeque::from([Node::alone(run)]), bytes: 0 }
    }

    fn newest(&self) -> &Arc<Node> {
        self.nodes.back().unwrap_or_else(|| unreachable!("a tail has a node"))
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.newest().run.epoch
    }

    /// The position behind its newest delta.
    pub(crate) fn end(&self) -> Position {
        self.newest().run.next
    }

    /// Where a reader that has read everything waits.
    pub(crate) fn head(&self) -> Weak<Node> {
        Arc::downgrade(self.newest())
    }

    /// A batch has begun. Says whether that is news.
    pub(crate) fn begin_batch(&self) -> bool {
        self.newest().more.raise()
    }

    /// Whether one has begun.
    pub(crate) fn is_in_batch(&self) -> bool {
        self.newest().has_more()
    }

    /// It has ended, and brought nothing.
    pub(crate) fn end_batch(&self) {
        self.newest().more.take();
    }

    /// Adds a run, and lets the oldest go until no more than `max_bytes` are kept. Gives by how many bytes it has grown.
    pub(crate) fn push(&mut self, run: Run, max_bytes: usize) -> isize {
        let before = self.bytes;
        self.bytes += len(&run);
        let node = Node::alone(run);
        let _ = self.newest().next.set(Arc::downgrade(&node));
        self.nodes.push_back(node);
        while self.bytes > max_bytes
            && self.nodes.len() > 1
            && let Some(oldest) = self.nodes.pop_front()
        {
            self.bytes -= len(&oldest.run);
        }
        self.bytes as isize - before as isize
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn len(run: &Run) -> usize {
    // With what a record costs beside its frame.
    run.records.iter().map(|record| record.frame.len() + 64).sum()
}

impl Drop for Tail {
    /// Whoever waits at its end goes on from the log.
    fn drop(&mut self) {
        let _ = self.newest().next.set(Weak::new());
    }
}
