//! What a peer is sent: whatever its cursors give, each in turn, when its session asks.

use std::sync::Arc;
use std::task::{Context, Poll};

use deltawire_channels::Message;
use deltawire_channels::session::FrameSource;
use deltawire_framing::DocId;
use deltawire_framing::documents::{SlowPolicy, Start};
use hashbrown::HashMap;

use super::Inner;
use super::cursor::{Cursor, Next};
use super::reader::{Change, LinkShared, Reader};

/// One subscription of this process's own: its source, and its place among the document's readers.
pub(crate) struct LocalSource {
    source: LinkSource,
    doc_id: DocId,
    shard: usize,
    key: usize,
    policy: SlowPolicy,
}

impl LocalSource {
    pub(crate) fn new(hub: Arc<Inner>, doc_id: DocId, start: Start, policy: SlowPolicy) -> Self {
        let shared = Arc::new(LinkShared::default());
        let shard = hub.shard_of(&doc_id);
        let reader = Reader::new(0, shared.clone());
        let (key, begin) = hub.shard(shard).join(doc_id, start, policy, reader.clone());
        let cursor = Cursor::new(0, doc_id, shard, policy, reader, begin);
        shared.change(Change::Add(0, Box::new(cursor)));
        Self { source: LinkSource::new(hub, shared), doc_id, shard, key, policy }
    }
}

impl FrameSource for LocalSource {
    fn try_frame(&mut self) -> Option<Message> {
        self.source.try_frame()
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.source.poll_frame(context)
    }

    fn close(&mut self) {
        self.source.close();
    }

    fn is_closed(&self) -> bool {
        self.source.is_closed()
    }
}

impl Drop for LocalSource {
    fn drop(&mut self) {
        self.source.hub.shard(self.shard).leave(self.doc_id, self.key, self.policy);
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
                Next::Message(message) => {
                    if left > 1 {
                        self.current = Some((slot, left - 1));
                    } else {
                        cursor.reader.wake();
                    }
                    return Some(message);
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
