//! Where a subscription stands in its document, and what it reads next. It is all that a slow reader costs.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use deltawire_channels::Message;
use deltawire_framing::documents::{Mark, MarkFields, SlowPolicy, Why};
use deltawire_framing::{Channel, DocId};
use deltawire_store::{Epoch, Look, Position};
use zerocopy::IntoBytes;

use super::Inner;
use super::reader::Reader;
use super::rejections::Missed;
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
    word: Option<Box<Message>>,
    presence: bool,
    /// The reader itself, as a writer of a presence.
    own: u64,
    /// Of a presence: up to which version it was told anew who is there.
    anew: u64,
    /// Of how many of the document's rejections it knows.
    rejections: u64,
    /// From where on it looks for what was rejected, as it has missed that.
    look: Option<Position>,
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
        let Begin { why, epoch, position, resumes, rejections } = begin;
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
            rejections,
            look: resumes.then_some(Position::FIRST),
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
        let begin = Begin::new(Why::Start, Epoch::default(), Position::FIRST);
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
            if let Some(message) = self.next_at_hand() {
                return Next::Message(message);
            }
            let more = if self.presence { self.next_word(hub) } else { self.find(hub) };
            if !more {
                return Next::Wait;
            }
        }
    }

    /// What comes next, if the hub need not be asked for it.
    pub(crate) fn next_at_hand(&mut self) -> Option<Message> {
        loop {
            if let Some(mark) = self.marks.pop_front() {
                if self.marks.is_empty() {
                    // Marks are rare, and their memory is most of what a cursor would have.
                    self.marks = VecDeque::new();
                }
                let mark = Mark::new(mark);
                return Some(Message::document_of(mark.as_bytes(), Channel::Data));
            }
            if let Some(word) = self.word.take() {
                return Some(*word);
            }
            if let Some(message) = self.next_of_run() {
                return Some(message);
            }
            if self.marks.is_empty() && self.run.is_none() {
                return None;
            }
        }
    }

    /// It is no reader of its document any more.
    pub(crate) fn leave(&self, hub: &Inner, key: usize) {
        hub.shard(self.shard).leave(self.doc_id, key, self.policy);
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
        if *index == run.records.len() && run.next == self.position.next() {
            // Whoever reads no further keeps nothing of it.
            self.run = None;
        }
        self.position = self.position.next();
        if matches!(self.policy, SlowPolicy::Disconnect { .. }) {
            self.reader.note_position(self.position.0);
        }
        self.since_mark += frame.len();
        let message = Message::of_kept(frame)
            .unwrap_or_else(|error| unreachable!("the log keeps whole frames: {error}"));
        if self.since_mark >= PROGRESS {
            self.mark(Why::Progress, 0, 0);
        }
        Some(message)
    }

    fn begin_run(&mut self, hub: &Inner, mut node: Arc<Node>) {
        if self.policy == SlowPolicy::LatestPerKey {
            let run = hub.shard(self.shard).newest_of(&self.doc_id, &node.run);
            node = Node::alone(run);
        }
        self.run = Some((node, 0));
    }

    /// Goes on behind deltas that were rejected, or that its policy passes over.
    fn leave_out(&mut self, to: Position) {
        let skipped = to.since(self.position);
        self.position = to;
        let by_key = self.policy == SlowPolicy::LatestPerKey;
        self.mark(if by_key { Why::Slow } else { Why::LeftOut }, skipped, 0);
    }

    /// Finds the next run. `false` if there is nothing to read now.
    fn find(&mut self, hub: &Inner) -> bool {
        self.reader.note_position(self.position.0);
        if self.reader.take_rejection() {
            self.learn_rejections(hub);
            return true;
        }
        if let Some(from) = self.look {
            self.look_for_rejected(hub, from);
            return true;
        }
        match self.policy {
            SlowPolicy::Block | SlowPolicy::Disconnect { .. } | SlowPolicy::LatestPerKey => {}
            _ => self.pass_over(hub),
        }
        if let Some(node) = self.at.upgrade() {
            match node.next().map(Weak::upgrade) {
                Some(Some(next)) => {
                    self.at = Arc::downgrade(&next);
                    self.begin_run(hub, next);
                    return true;
                }
                // It is not kept any more.
                Some(None) => self.at = Weak::new(),
                None => return self.arrive(),
            }
        }
        let reader = self.reader.clone();
        let found = hub.shard(self.shard).find(self.doc_id, self.epoch, self.position, &reader);
        match found {
            Found::Run(run) => {
                self.begin_run(hub, Node::alone(run));
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
                // What it had before is another document's.
                self.look = self.look.filter(|_| why != Why::NewEpoch);
                self.mark(why, records, bytes);
                true
            }
            Found::Cold => {
                hub.kick(self.shard);
                false
            }
        }
    }

    /// A delta was rejected that it has given already, or holds.
    fn learn_rejections(&mut self, hub: &Inner) {
        // What lies in the tail may be what was rejected: it goes on from the log.
        self.at = Weak::new();
        let shard = hub.shard(self.shard);
        let (missed, count) = shard.rejections(&self.doc_id, self.epoch, self.rejections);
        drop(shard);
        self.rejections = count;
        match missed {
            Missed::Some(missed) => {
                let given = self.position;
                for at in missed.into_iter().filter(|at| *at < given) {
                    self.mark(Why::Rejected, at.0, 0);
                }
            }
            Missed::Many => self.look = Some(Position::FIRST),
        }
    }

    /// Looks on for what was rejected of what it has given, or its reader has from before.
    fn look_for_rejected(&mut self, hub: &Inner, from: Position) {
        let within = from..self.position;
        let found = hub.shard(self.shard).look_for_rejected(&self.doc_id, self.epoch, within);
        self.look = match found {
            Some(Look::Found(at)) => {
                self.mark(Why::Rejected, at.0, 0);
                Some(at.next())
            }
            Some(Look::On(at)) => Some(at),
            None => None,
        };
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
            let message = Message::of_kept(frame);
            let message = message.unwrap_or_else(|error| {
                unreachable!("the frame of a message: {error}");
            });
            Box::new(message)
        });
        true
    }
}
