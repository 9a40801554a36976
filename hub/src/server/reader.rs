//! How those that read are told that there is something, without a lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use atomic_waker::AtomicWaker;
use crossbeam_queue::SegQueue;
use deltawire_channels::waking::Flag;
use deltawire_framing::DocId;
use deltawire_link::{Identity, LinkId};

use super::cursor::Cursor;

/// What a peer's attendant, its source and the shards share.
#[derive(Debug, Default)]
pub(crate) struct LinkShared {
    /// Its key among the hub's links.
    key: usize,
    /// Slots of subscriptions that have something to read, each at most once.
    ready: SegQueue<u32>,
    source: AtomicWaker,
    changes: Mutex<VecDeque<Change>>,
    changed: Flag,
    attendant: AtomicWaker,
    /// A shard has stored something, or has room again.
    stored: Flag,
    orders: Mutex<VecDeque<Order>>,
    ordered: Flag,
    over: Flag,
    /// Who it is, and over which link, for those that watch.
    identity: Option<Identity>,
    id: Option<LinkId>,
}

/// What becomes of a source's subscriptions.
#[derive(Debug)]
pub(crate) enum Change {
    Add(u32, Box<Cursor>),
    Remove(u32),
}

/// What an attendant is told from outside.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Of whom, and of which document, what was permitted is over.
    Revoke { subject: Option<Arc<str>>, doc_id: Option<DocId> },
    /// A document was deleted.
    Deleted(DocId),
    /// The peer cannot be reached for now.
    Down,
    /// It can be.
    Up,
    /// The hub goes away.
    GoAway,
}

impl LinkShared {
    pub(crate) fn of(key: usize, identity: Option<Identity>, id: Option<LinkId>) -> Self {
        Self { key, identity, id, ..Self::default() }
    }

    pub(crate) fn who(&self) -> (Option<Identity>, Option<LinkId>) {
        (self.identity.clone(), self.id)
    }

    pub(crate) fn key(&self) -> usize {
        self.key
    }

    pub(crate) fn change(&self, change: Change) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        // A source that is not asked, as its peer takes nothing, must not gather what has come and gone.
        let waiting = changes.len();
        if let Change::Remove(gone) = change {
            changes.retain(|it| !matches!(it, Change::Add(slot, _) if *slot == gone));
        }
        if changes.len() == waiting {
            changes.push_back(change);
        }
        drop(changes);
        self.changed.raise();
        self.source.wake();
    }

    pub(crate) fn take_change(&self) -> Option<Change> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let change = changes.pop_front();
        if changes.is_empty() {
            self.changed.take();
        }
        change
    }

    pub(crate) fn has_changes(&self) -> bool {
        self.changed.is_raised()
    }

    pub(crate) fn register_source(&self, waker: &std::task::Waker) {
        self.source.register(waker);
    }

    /// Slots that wait for their turn, some of them of subscriptions that are gone.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn pop_ready(&self) -> Option<u32> {
        self.ready.pop()
    }

    pub(crate) fn register_attendant(&self, waker: &std::task::Waker) {
        self.attendant.register(waker);
    }

    /// Tells the attendant that a shard has stored something, or has room.
    pub(crate) fn note_stored(&self) {
        self.stored.raise();
        self.attendant.wake();
    }

    pub(crate) fn take_stored(&self) -> bool {
        self.stored.take()
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
        self.ordered.raise();
        self.attendant.wake();
    }

    pub(crate) fn take_orders(&self) -> VecDeque<Order> {
        if self.ordered.take() {
            std::mem::take(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            VecDeque::new()
        }
    }

    /// The link is over: its source ends.
    pub(crate) fn finish(&self) {
        self.over.raise();
        self.source.wake();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_raised()
    }
}

/// One subscription, as a document's shard sees it.
#[derive(Debug)]
pub(crate) struct Reader {
    queued: Flag,
    /// A delta that it may have had was rejected.
    rejected: Flag,
    /// The position that it has got to.
    position: Mutex<u64>,
    at: At,
}

/// Where a reader is.
#[derive(Debug)]
enum At {
    /// At the other end of a link: one of its subscriptions.
    Link { slot: u32, link: Arc<LinkShared> },
    /// In this process: whoever polls it.
    Here { task: AtomicWaker, over: Flag },
}

impl Reader {
    pub(crate) fn new(slot: u32, link: Arc<LinkShared>) -> Arc<Self> {
        Self::of(At::Link { slot, link })
    }

    pub(crate) fn here() -> Arc<Self> {
        Self::of(At::Here { task: AtomicWaker::new(), over: Flag::new(false) })
    }

    fn of(at: At) -> Arc<Self> {
        let (queued, rejected) = (Flag::new(false), Flag::new(false));
        Arc::new(Self { queued, rejected, position: Mutex::new(0), at })
    }

    /// There is something to read.
    pub(crate) fn wake(&self) {
        if self.queued.raise() {
            match &self.at {
                At::Link { slot, link } => {
                    link.ready.push(*slot);
                    link.source.wake();
                }
                At::Here { task, .. } => task.wake(),
            }
        }
    }

    /// Has this task woken; of a reader of this process.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        if let At::Here { task, .. } = &self.at {
            task.register(waker);
        }
    }

    /// The hub goes away: a reader of this process gets no more.
    pub(crate) fn go_away(&self) {
        if let At::Here { task, over } = &self.at {
            over.raise();
            task.wake();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(&self.at, At::Here { over, .. } if over.is_raised())
    }

    /// A delta of its document was rejected.
    pub(crate) fn note_rejection(&self) {
        self.rejected.raise();
        self.wake();
    }

    pub(crate) fn take_rejection(&self) -> bool {
        self.rejected.is_raised() && self.rejected.take()
    }

    /// It is being read: whatever comes from here on wakes it anew.
    pub(crate) fn rearm(&self) {
        self.queued.take();
    }

    pub(crate) fn note_position(&self, position: u64) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    /// Who reads, and over which link, if that is known.
    pub(crate) fn who(&self) -> (Option<Identity>, Option<LinkId>) {
        match &self.at {
            At::Link { link, .. } => link.who(),
            At::Here { .. } => (None, None),
        }
    }

    pub(crate) fn position(&self) -> u64 {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
