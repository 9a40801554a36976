//! What a peer is sent: whatever its cursors give, each in turn, when its session asks.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use deltawire_channels::Message;
use deltawire_channels::session::FrameSource;
use deltawire_framing::DocId;
use deltawire_framing::documents::{SlowPolicy, Start};
use hashbrown::HashMap;

use super::Inner;
use super::cursor::{Cursor, Given, Next};
use super::reader::{Change, LinkShared, Reader};

/// One subscription of this process's own, and its place among the document's readers.
pub(crate) struct LocalCursor {
    /// Not held: what nobody reads must not keep a hub, and its directory.
    hub: Weak<Inner>,
    cursor: Cursor,
    key: usize,
}

impl LocalCursor {
    pub(crate) fn new(hub: &Arc<Inner>, doc_id: DocId, start: Start, policy: SlowPolicy) -> Self {
        let shard = hub.shard_of(&doc_id);
        let reader = Reader::here();
        let (key, begin) = hub.shard(shard).join(doc_id, start, policy, reader.clone());
        if hub.links().going_away {
            reader.go_away();
        }
        let cursor = Cursor::new(0, doc_id, shard, policy, reader, begin);
        Self { hub: Arc::downgrade(hub), cursor, key }
    }
}

impl crate::client::Cursor for LocalCursor {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Given>> {
        if let Some(given) = self.cursor.next_at_hand() {
            return Poll::Ready(Some(given));
        }
        let Some(hub) = self.hub.upgrade().filter(|_| !self.cursor.reader.is_over()) else {
            return Poll::Ready(None);
        };
        if let Next::Given(given) = self.cursor.next(&hub) {
            return Poll::Ready(Some(given));
        }
        // Until here nobody wakes it. What has come since is looked at once more.
        self.cursor.reader.register(context.waker());
        self.cursor.reader.rearm();
        match self.cursor.next(&hub) {
            Next::Given(given) => Poll::Ready(Some(given)),
            Next::Wait if self.cursor.reader.is_over() => Poll::Ready(None),
            Next::Wait => Poll::Pending,
        }
    }
}

impl Drop for LocalCursor {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            self.cursor.leave(&hub, self.key);
        }
    }
}

/// Messages that a cursor gives before others have their turn.
const TURN: usize = 256;

pub(crate) struct LinkSource {
    hub: Arc<Inner>,
    shared: Arc<LinkShared>,
    cursors: HashMap<u32, Box<Cursor>>,
    /// The slot that has its turn, and how much of it is left.
    current: Option<(u32, usize)>,
    closed: bool,
}

impl LinkSource {
    pub(crate) fn new(hub: Arc<Inner>, shared: Arc<LinkShared>) -> Self {
        Self { hub, shared, cursors: HashMap::new(), current: None, closed: false }
    }
}

impl FrameSource for LinkSource {
    fn try_frame(&mut self) -> Option<Message> {
        if self.closed {
            return None;
        }
        if self.shared.has_changes() {
            while let Some(change) = self.shared.take_change() {
                match change {
                    Change::Add(slot, cursor) => {
                        // It may have been woken before it was here.
                        cursor.reader.rearm();
                        cursor.reader.wake();
                        self.cursors.insert(slot, cursor);
                    }
                    Change::Remove(slot) => {
                        self.cursors.remove(&slot);
                    }
                }
            }
        }
        loop {
            let (slot, left) = match self.current.take() {
                Some(current) => current,
                None => {
                    let slot = self.shared.pop_ready()?;
                    if let Some(cursor) = self.cursors.get(&slot) {
                        cursor.reader.rearm();
                    }
                    (slot, TURN)
                }
            };
            let Some(cursor) = self.cursors.get_mut(&slot) else { continue };
            match cursor.next(&self.hub) {
                Next::Given(given) => {
                    if left > 1 {
                        self.current = Some((slot, left - 1));
                    } else {
                        cursor.reader.wake();
                    }
                    return Some(given.into_message());
                }
                Next::Wait => {}
            }
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        if let Some(message) = self.try_frame() {
            return Poll::Ready(Some(message));
        }
        self.shared.register_source(context.waker());
        // Something may have come since.
        if let Some(message) = self.try_frame() {
            return Poll::Ready(Some(message));
        }
        if self.is_closed() { Poll::Ready(None) } else { Poll::Pending }
    }

    fn close(&mut self) {
        self.closed = true;
        self.cursors.clear();
    }

    fn is_closed(&self) -> bool {
        self.closed || self.shared.is_over()
    }
}
