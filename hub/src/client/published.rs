//! One publication: what was written to it and is not acknowledged yet.

use core::task::Waker;
use std::collections::VecDeque;
use std::sync::Arc;

use deltawire_channels::Message;
use deltawire_framing::documents::{
    AcknowledgeFields, DeniedCode, Expect, Level, Publish, PublishFields, WriterId,
};
use deltawire_framing::{Channel, DeltaFields, DeltaType, DocId};
use zerocopy::IntoBytes;

use super::PublishError;
use super::receipt::Fate;

#[derive(Debug)]
pub(super) struct Published {
    doc_id: DocId,
    writer: WriterId,
    presence: bool,
    /// The sequence of the next delta.
    next: u32,
    /// What is not acknowledged, oldest first; of a presence the last one.
    waiting: VecDeque<Entry>,
    /// Of frames in `waiting`.
    bytes: usize,
    /// How many of `waiting` were sent on this link.
    sent: usize,
    /// Whether the expectation of the next one was.
    expectation_sent: bool,
    /// Its id on this link, once the hub was asked.
    pub(super) told: Option<u32>,
    /// Whether the hub has said what it has.
    open: bool,
    pub(super) ended: Option<PublishError>,
    /// Whoever waits for room.
    pub(super) writer_task: Option<Waker>,
    /// Whether it goes when nothing waits.
    pub(super) dropped: bool,
}

#[derive(Debug)]
struct Entry {
    sequence: u32,
    message: Message,
    expect: Option<u64>,
    fate: Arc<Fate>,
    received: bool,
}

impl Published {
    pub(super) fn new(doc_id: DocId, writer: WriterId, presence: bool) -> Self {
        Self {
            doc_id,
            writer,
            presence,
            next: 1,
            waiting: VecDeque::new(),
            bytes: 0,
            sent: 0,
            expectation_sent: false,
            told: None,
            open: false,
            ended: None,
            writer_task: None,
            dropped: false,
        }
    }

    pub(super) fn is_of(&self, doc_id: DocId, presence: bool) -> bool {
        self.doc_id == doc_id && self.presence == presence
    }

    pub(super) fn is_presence(&self) -> bool {
        self.presence
    }

    pub(super) fn doc_id(&self) -> DocId {
        self.doc_id
    }

    pub(super) fn request(&self, id: u32) -> Publish {
        let Self { doc_id, writer, presence, .. } = *self;
        Publish::new(PublishFields { id, doc_id, writer, presence })
    }

    /// Its link is gone.
    pub(super) fn detach(&mut self) {
        self.told = None;
        self.open = false;
        self.sent = 0;
        self.expectation_sent = false;
    }

    /// Fields of the next delta, as the hub expects them.
    pub(super) fn complete(&self, fields: DeltaFields) -> DeltaFields {
        let delta_type = if self.presence { DeltaType::PRESENCE } else { fields.delta_type };
        DeltaFields { doc_id: self.doc_id, sequence: self.next, delta_type, ..fields }
    }

    /// Whether a frame of so many bytes may wait too.
    pub(super) fn has_room(&self, len: usize, max: usize) -> bool {
        self.presence || self.waiting.is_empty() || self.bytes + len <= max
    }

    /// Takes a delta that has the next sequence.
    pub(super) fn push(&mut self, message: Message, expect: Option<u64>, fate: Arc<Fate>) {
        if self.presence {
            // Only the last one counts.
            self.waiting.clear();
            (self.sent, self.bytes) = (0, 0);
        }
        self.bytes += message.frame().as_bytes().len();
        let sequence = self.next;
        self.waiting.push_back(Entry { sequence, message, expect, fate, received: false });
        self.next = self.next.wrapping_add(1);
    }

    /// Has the last delta of a presence sent once more, so that it does not count as gone.
    pub(super) fn refresh(&mut self) -> bool {
        let again = self.presence && self.open && !self.waiting.is_empty();
        if again {
            self.sent = 0;
        }
        again
    }

    /// What is to be sent next, if there is something.
    pub(super) fn try_send(&mut self) -> Option<Message> {
        if !self.open || self.ended.is_some() {
            return None;
        }
        let entry = self.waiting.get(self.sent)?;
        if let (Some(position), Some(id), false) = (entry.expect, self.told, self.expectation_sent)
        {
            self.expectation_sent = true;
            return Some(Message::document_of(Expect::new(id, position).as_bytes(), Channel::Data));
        }
        self.expectation_sent = false;
        self.sent += 1;
        Some(entry.message.clone())
    }

    /// Takes in how far its deltas have got. Says whether it was opened by that.
    pub(super) fn handle_acknowledge(&mut self, fields: &AcknowledgeFields) -> bool {
        let opens = !self.open;
        if opens {
            self.open = true;
            let has = |entry: &&Entry| {
                fields.last.is_some_and(|(last, _)| is_up_to(entry.sequence, last))
            };
            self.sent = if self.presence { 0 } else { self.waiting.iter().take_while(has).count() };
        }
        let Some((last, _)) = fields.last else { return opens };
        // What is stored, or never will be, is not needed any more.
        let settled = fields.level >= Level::Stored || fields.volatile;
        while settled
            && !self.presence
            && let Some(first) = self.waiting.front()
            && is_up_to(first.sequence, last)
            // Nothing that was not sent is acknowledged.
            && self.sent > 0
        {
            let Some(entry) = self.waiting.pop_front() else { break };
            self.sent -= 1;
            self.bytes -= entry.message.frame().as_bytes().len();
            if fields.level >= Level::Stored {
                entry.fate.stored();
            } else {
                entry.fate.received(true);
            }
        }
        if !settled {
            for entry in self.waiting.iter_mut().take(self.sent) {
                if !is_up_to(entry.sequence, last) {
                    break;
                }
                if !entry.received {
                    entry.received = true;
                    entry.fate.received(false);
                }
            }
        }
        self.wake();
        opens
    }

    /// The hub does not take one of its deltas. Says whether it is to be announced anew: what follows is sent again.
    pub(super) fn denied(&mut self, sequence: u32, code: DeniedCode, next: u64) -> bool {
        let found = self.waiting.iter().position(|entry| entry.sequence == sequence);
        if let Some(entry) = found.and_then(|index| self.waiting.remove(index)) {
            self.bytes -= entry.message.frame().as_bytes().len();
            entry.fate.denied(code, next);
        }
        if self.presence {
            self.sent = self.waiting.len();
        } else {
            self.detach();
        }
        self.wake();
        !self.presence
    }

    /// The hub takes nothing of it any more.
    pub(super) fn end(&mut self, code: DeniedCode) {
        self.told = None;
        self.open = false;
        self.ended = Some(PublishError::Denied { code, next: 0 });
        for entry in self.waiting.drain(..) {
            entry.fate.denied(code, 0);
        }
        (self.sent, self.bytes) = (0, 0);
        self.wake();
    }

    pub(super) fn close(&mut self) {
        self.ended.get_or_insert(PublishError::Closed);
        for entry in self.waiting.drain(..) {
            entry.fate.closed();
        }
        (self.sent, self.bytes) = (0, 0);
        self.wake();
    }

    /// Whether everything that was written is settled.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() || self.presence
    }

    fn wake(&mut self) {
        if let Some(waker) = self.writer_task.take() {
            waker.wake();
        }
    }
}

/// Whether `sequence` is `last` or comes before it; sequences wrap.
fn is_up_to(sequence: u32, last: u32) -> bool {
    last.wrapping_sub(sequence) < 1 << 31
}
