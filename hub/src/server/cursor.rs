//! Where a subscription stands in its document, and what it reads next. It is all that a slow reader costs.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use deltawire_channels::Message;
use deltawire_framing::documents::{Mark, MarkFields, SlowPolicy, Why};
use deltawire_framing::{Channel, DocId};
use deltawire_store::{Epoch, Position};
use zerocopy::IntoBytes;

use super::Inner;
use super::reader::Reader;
use super::shard::{Begin, Found};
use super::tail::Node;

/// Bytes of deltas after which a reader is told its position.
const PROGRESS: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Cursor {
    id: u32,
    doc_id: DocId,
    shard: usize,
    policy: SlowPolicy,
    pub(crate) reader: Arc<Reader>,
    epoch: Epoch,
    /// Of the next delta; of a presence the version that was seen.
    position: Position,
    /// The node that was read last, of a tail.
    at: Weak<Node>,
    /// The run that is being read, and the index of its next record.
    run: Option<(Arc<Node>, usize)>,
    /// What is told before the next delta.
    marks: VecDeque<MarkFields>,
    /// The presence's word that follows its mark.
    word: Option<Message>,
    presence: bool,
    /// The reader itself, as a writer of a presence.
    own: u64,
    /// Of a presence: up to which version it was told anew who is there.
    anew: u64,
    live: bool,
    since_mark: usize,
}

/// What a cursor gives.
pub(crate) enum Next {
    Message(Message),
    /// It is woken when there is more.
    Wait,
}

impl Cursor {
    pub(crate) fn new(
        id: u32,
        doc_id: DocId,
        shard: usize,
        policy: SlowPolicy,
        reader: Arc<Reader>,
        begin: Begin,
    ) -> Self {
        let Begin { why, epoch, position } = begin;
        let mut cursor = Self {
            id,
            doc_id,
            shard,
            policy,
            reader,
            epoch,
            position,
            at: Weak::new(),
            run: None,
            marks: VecDeque::new(),
            word: None,
            presence: false,
            own: 0,
            anew: 0,
            live: false,
            since_mark: 0,
        };
        cursor.mark(why, 0, 0);
        cursor
    }

    pub(crate) fn of_presence(
        id: u32,
        doc_id: DocId,
        shard: usize,
        reader: Arc<Reader>,
        own: u64,
    ) -> Self {
        let begin = Begin { why: Why::Start, epoch: Epoch::default(), position: Position::FIRST };
        let cursor = Self::new(id, doc_id, shard, SlowPolicy::Latest, reader, begin);
        Self { presence: true, own, position: Position(0), ..cursor }
    }

    fn mark(&mut self, why: Why, skipped: u64, skipped_bytes: u64) {
        let (id, epoch, position) = (self.id, self.epoch.0, self.position.0);
        self.marks.push_back(MarkFields { id, why, epoch, position, skipped, skipped_bytes });
        self.since_mark = 0;
    }

    /// What comes next.
    pub(crate) fn next(&mut self, hub: &Inner) -> Next {
        loop {
            if let Some(mark) = self.marks.pop_front() {
                let mark = Mark::new(mark);
                return Next::Message(Message::document_of(mark.as_bytes(), Channel::Data));
            }
            if let Some(word) = self.word.take() {
                return Next::Message(word);
            }
            if self.presence {
                if !self.next_word(hub) {
                    return Next::Wait;
                }
                continue;
            }
            if let Some(message) = self.next_of_run() {
                return Next::Message(message);
            }
            if !self.marks.is_empty() || self.run.is_some() {
                continue;
            }
            if !self.find(hub) {
                return Next::Wait;
            }
        }
    }

    /// The next delta of the run that is being read.
    fn next_of_run(&mut self) -> Option<Message> {
        let (node, index) = self.run.as_mut()?;
        let run = &node.run;
        let Some(record) = run.records.get(*index) else {
            let next = run.next;
            self.run = None;
            if next > self.position {
                self.leave_out(next);
            }
            return None;
        };
        if record.position < self.position {
            // It was passed over.
            *index += 1;
            return None;
        }
        if record.position > self.position {
            let position = record.position;
            self.leave_out(position);
            return None;
        }
        *index += 1;
        let frame = record.frame.clone();
        self.position = self.position.next();
        self.since_mark += frame.len();
        let message = Message::of_kept(frame)
            .unwrap_or_else(|error| unreachable!("the log keeps whole frames: {error}"));
        if self.since_mark >= PROGRESS {
            self.mark(Why::Progress, 0, 0);
        }
        Some(message)
    }

    /// Goes on behind deltas that were rejected.
    fn leave_out(&mut self, to: Position) {
        let skipped = to.since(self.position);
        self.position = to;
        self.mark(Why::LeftOut, skipped, 0);
    }

    /// Finds the next run. `false` if there is nothing to read now.
    fn find(&mut self, hub: &Inner) -> bool {
        self.reader.note_position(self.position.0);
        if !matches!(self.policy, SlowPolicy::Block | SlowPolicy::Disconnect { .. }) {
            self.pass_over(hub);
        }
        if let Some(node) = self.at.upgrade() {
            if let Some(next) = node.next() {
                self.at = Arc::downgrade(next);
                self.run = Some((next.clone(), 0));
                return true;
            }
            return self.arrive();
        }
        let reader = self.reader.clone();
        let found = hub.shard(self.shard).find(self.doc_id, self.epoch, self.position, &reader);
        match found {
            Found::Run(run) => {
                self.run = Some((Node::alone(run), 0));
                true
            }
            Found::AtHead(at) => {
                self.at = at;
                self.arrive()
            }
            Found::Jump { why, epoch, to, records, bytes } => {
                self.epoch = epoch;
                self.position = to;
                self.live = false;
                self.mark(why, records, bytes);
                true
            }
            Found::Cold => {
                hub.kick(self.shard);
                false
            }
        }
    }

    /// It has read everything. Says whether that is told.
    fn arrive(&mut self) -> bool {
        let arrives = !std::mem::replace(&mut self.live, true);
        if arrives {
            self.mark(Why::Live, 0, 0);
        }
        arrives
    }

    /// Passes over what its policy says that a slow reader does not want.
    fn pass_over(&mut self, hub: &Inner) {
        let shard = hub.shard(self.shard);
        let over = shard.pass_over(&self.doc_id, self.epoch, self.position, self.policy);
        drop(shard);
        let Some((why, to)) = over else { return };
        let skipped = to.since(self.position);
        self.position = to;
        self.at = Weak::new();
        self.live = false;
        self.mark(why, skipped, 0);
    }

    /// The next word of a presence. `false` if there is none now.
    fn next_word(&mut self, hub: &Inner) -> bool {
        let shard = hub.shard(self.shard);
        let forgotten = shard.forgotten(&self.doc_id);
        let stale = self.position.0 > 0 && self.position.0 < forgotten && self.anew < forgotten;
        self.anew = self.anew.max(forgotten);
        if stale {
            // Somebody went whom nobody remembers: all that are there are told anew.
            drop(shard);
            self.position = Position(0);
            self.live = false;
            self.mark(Why::Start, 0, 0);
            return true;
        }
        let found = shard.word(&self.doc_id, self.position.0);
        drop(shard);
        let Some((version, word)) = found else { return self.arrive() };
        self.position = Position(version);
        if word.writer == self.own {
            return true;
        }
        let why = if word.frame.is_some() { Why::Writer } else { Why::Gone };
        self.mark(why, word.writer, 0);
        self.word = word.frame.map(|frame| {
            Message::of_kept(frame)
                .unwrap_or_else(|error| unreachable!("the frame of a message: {error}"))
        });
        true
    }
}
