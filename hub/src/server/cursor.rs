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
const PROGRESS: u32 = 64 << 10;

#[derive(Debug)]
pub(crate) struct Cursor {
    id: u32,
    epoch: Epoch,
    doc_id: DocId,
    policy: SlowPolicy,
    pub(crate) reader: Arc<Reader>,
    /// Of the next delta; of a presence the version that was seen.
    position: Position,
    /// The position that its reader was told last.
    noted: Position,
    /// The node that was read last, of a tail.
    at: Weak<Node>,
    /// The run that is being read, if it is.
    run: Option<Arc<Node>>,
    /// The index of its next record.
    index: u32,
    shard: u32,
    since_mark: u32,
    live: bool,
    /// Of how many of the document's rejections it knows.
    rejections: u64,
    /// What is there for a while only, and would be most of its memory.
    beside: Option<Box<Beside>>,
    presence: Option<Box<Presence>>,
}

const _: () = assert!(size_of::<Cursor>() <= 144);

/// What stands before the next delta.
#[derive(Debug, Default)]
struct Beside {
    /// What is told.
    marks: VecDeque<MarkFields>,
    /// From where on it looks for what was rejected, as it has missed that.
    look: Option<Position>,
}

/// Of a cursor that reads who is there.
#[derive(Debug)]
struct Presence {
    /// The reader itself, as a writer.
    own: u64,
    /// Up to which version it was told anew who is there.
    anew: u64,
    /// The word that follows its mark.
    word: Option<Message>,
}

/// What a cursor gives.
pub(crate) enum Next {
    Given(Given),
    /// It is woken when there is more.
    Wait,
}

/// A message, or what is said between them.
pub(crate) enum Given {
    Message(Message),
    Mark(MarkFields),
}

impl Given {
    /// It, for a link.
    pub(crate) fn into_message(self) -> Message {
        match self {
            Self::Message(message) => message,
            Self::Mark(mark) => Message::document_of(Mark::new(mark).as_bytes(), Channel::Data),
        }
    }
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
        let look = resumes.then_some(Position::FIRST);
        let mut cursor = Self {
            id,
            epoch,
            doc_id,
            policy,
            reader,
            position,
            noted: Position(0),
            at: Weak::new(),
            run: None,
            index: 0,
            shard: shard as u32,
            since_mark: 0,
            live: false,
            rejections,
            beside: Some(Box::new(Beside { marks: VecDeque::with_capacity(1), look })),
            presence: None,
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
        let presence = Some(Box::new(Presence { own, anew: 0, word: None }));
        Self { presence, position: Position(0), ..cursor }
    }

    fn mark(&mut self, why: Why, skipped: u64, skipped_bytes: u64) {
        let (id, epoch, position) = (self.id, self.epoch.0, self.position.0);
        let mark = MarkFields { id, why, epoch, position, skipped, skipped_bytes };
        self.beside.get_or_insert_default().marks.push_back(mark);
        self.since_mark = 0;
    }

    /// What comes next.
    pub(crate) fn next(&mut self, hub: &Inner) -> Next {
        loop {
            if let Some(given) = self.next_at_hand() {
                return Next::Given(given);
            }
            let more = if self.presence.is_some() { self.next_word(hub) } else { self.find(hub) };
            if !more {
                return Next::Wait;
            }
        }
    }

    /// What comes next, if the hub need not be asked for it.
    pub(crate) fn next_at_hand(&mut self) -> Option<Given> {
        loop {
            if let Some(beside) = &mut self.beside {
                if let Some(mark) = beside.marks.pop_front() {
                    return Some(Given::Mark(mark));
                }
                if beside.look.is_none() {
                    self.beside = None;
                }
            }
            if let Some(presence) = &mut self.presence {
                return presence.word.take().map(Given::Message);
            }
            self.run.as_ref()?;
            if let Some(message) = self.next_of_run() {
                return Some(Given::Message(message));
            }
        }
    }

    /// It is no reader of its document any more.
    pub(crate) fn leave(&self, hub: &Inner, key: usize) {
        hub.shard(self.shard()).leave(self.doc_id, key, self.policy);
    }

    fn shard(&self) -> usize {
        self.shard as usize
    }

    /// The next delta of the run that is being read.
    fn next_of_run(&mut self) -> Option<Message> {
        let run = &self.run.as_ref()?.run;
        let Some(record) = run.records.get(self.index as usize) else {
            let next = run.next;
            self.run = None;
            if next > self.position {
                self.leave_out(next);
            }
            return None;
        };
        if record.position < self.position {
            // It was passed over.
            self.index += 1;
            return None;
        }
        if record.position > self.position {
            let position = record.position;
            self.leave_out(position);
            return None;
        }
        self.index += 1;
        let frame = record.frame.clone();
        if self.index as usize == run.records.len() && run.next == self.position.next() {
            // Whoever reads no further keeps nothing of it.
            self.run = None;
        }
        self.position = self.position.next();
        if matches!(self.policy, SlowPolicy::Disconnect { .. }) {
            self.note_position();
        }
        self.since_mark = self.since_mark.saturating_add(frame.len() as u32);
        if self.since_mark >= PROGRESS {
            self.mark(Why::Progress, 0, 0);
        }
        Some(Message::of_log(frame))
    }

    /// Tells where it stands.
    fn note_position(&mut self) {
        if self.noted != self.position {
            self.noted = self.position;
            self.reader.note_position(self.position.0);
        }
    }

    fn begin_run(&mut self, hub: &Inner, mut node: Arc<Node>) {
        if self.policy == SlowPolicy::LatestPerKey {
            let run = hub.shard(self.shard()).newest_of(&self.doc_id, &node.run);
            node = Node::alone(run);
        }
        (self.run, self.index) = (Some(node), 0);
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
        self.note_position();
        if self.reader.take_rejection() {
            self.learn_rejections(hub);
            return true;
        }
        if let Some(from) = self.beside.as_ref().and_then(|beside| beside.look) {
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
                // Something was appended, and nobody has taken the lock since: that ends the batch.
                None if node.has_more() => {
                    drop(hub.shard(self.shard()));
                    return true;
                }
                None => return self.arrive(),
            }
        }
        let reader = self.reader.clone();
        let found = hub.shard(self.shard()).find(self.doc_id, self.epoch, self.position, &reader);
        match found {
            Found::Run(run, ahead) => {
                if ahead {
                    hub.kick(self.shard());
                }
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
                if why == Why::NewEpoch {
                    self.look_from(None);
                }
                self.mark(why, records, bytes);
                true
            }
            Found::Cold => {
                hub.kick(self.shard());
                false
            }
        }
    }

    /// A delta was rejected that it has given already, or holds.
    fn learn_rejections(&mut self, hub: &Inner) {
        // What lies in the tail may be what was rejected: it goes on from the log.
        self.at = Weak::new();
        let shard = hub.shard(self.shard());
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
            Missed::Many => self.look_from(Some(Position::FIRST)),
        }
    }

    /// Looks on for what was rejected of what it has given, or its reader has from before.
    fn look_for_rejected(&mut self, hub: &Inner, from: Position) {
        let within = from..self.position;
        let found = hub.shard(self.shard()).look_for_rejected(&self.doc_id, self.epoch, within);
        if let Some(Look::Found(at)) = found {
            self.mark(Why::Rejected, at.0, 0);
        }
        self.look_from(found.map(|found| match found {
            Look::Found(at) => at.next(),
            Look::On(at) => at,
        }));
    }

    fn look_from(&mut self, from: Option<Position>) {
        if from.is_some() || self.beside.is_some() {
            self.beside.get_or_insert_default().look = from;
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
        let shard = hub.shard(self.shard());
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
        let Some(presence) = &mut self.presence else { return false };
        let shard = hub.shard(self.shard as usize);
        let forgotten = shard.forgotten(&self.doc_id);
        let stale = self.position.0 > 0 && self.position.0 < forgotten && presence.anew < forgotten;
        presence.anew = presence.anew.max(forgotten);
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
        if word.writer == presence.own {
            return true;
        }
        presence.word = word.frame.map(Message::of_log);
        let why = if presence.word.is_some() { Why::Writer } else { Why::Gone };
        self.mark(why, word.writer, 0);
        true
    }
}
