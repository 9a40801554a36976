//! Some of the documents: their log, and who reads them. No I/O, no clock: whoever has brought something in holds its
//! lock for as long as that takes. A batch ends before it is let go, or, of this process's own deltas, when it is taken the next time.

mod batching;
mod rejecting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltawire_framing::DocId;
use deltawire_framing::documents::{SlowPolicy, Start, Why};
use deltawire_store::{Durability, Epoch, Head, Log, Now, Position, Read, Run};
use hashbrown::{HashMap, HashSet};
use slab::Slab;

use self::batching::OpenBatch;
use super::keys::Keys;
use super::presence::{Presence, Word};
use super::reader::{LinkShared, Reader};
use super::rejections::Rejections;
use super::tail::Tail;
use super::{Deliver, HubOptions, LiveDocument, Policy};

/// Bytes of deltas that are read from the log at a time.
pub(crate) const MAX_RUN: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) log: Log,
    options: HubOptions,
    policy: Arc<dyn Policy>,
    /// Documents that somebody looks at.
    live: HashMap<DocId, Live>,
    /// Documents that were appended to since the last batch ended.
    touched: Vec<DocId>,
    /// The batch that has not ended, if there is one.
    batch: Option<OpenBatch>,
    /// Documents with deltas that are not delivered before they are stored.
    held: HashSet<DocId>,
    /// Of all tails, bytes.
    tails: usize,
    /// Those that wait for something to be stored, or for room, by their address.
    waiting: HashMap<usize, Arc<LinkShared>>,
    /// Those that wait for something to be read back, by their address.
    cold: HashMap<usize, Arc<Reader>>,
    /// Documents whose keys are remembered.
    keyed: usize,
    pub(crate) delivered_runs: u64,
}

#[derive(Debug)]
struct Live {
    tail: Tail,
    readers: Slab<Arc<Reader>>,
    /// How many of the readers want the newest of each key only, and what they need for that.
    by_key: usize,
    keys: Option<Box<Keys>>,
    rejections: Rejections,
    presence: Presence,
    onlookers: Slab<Arc<Reader>>,
}

impl Live {
    fn wake_readers(&self) {
        for (_, reader) in &self.readers {
            reader.wake();
        }
    }

    fn is_idle(&self) -> bool {
        self.readers.is_empty() && self.onlookers.is_empty() && self.presence.is_empty()
    }
}

/// Where a cursor reads on.
pub(crate) enum Found {
    /// There. Whether what follows is to be read back meanwhile.
    Run(Run, bool),
    /// It has read all that there is: it waits at the tail's head.
    AtHead(std::sync::Weak<super::tail::Node>),
    /// From another place on.
    Jump { why: Why, epoch: Epoch, to: Position, records: u64, bytes: u64 },
    /// It is woken when it has been read back from the disk.
    Cold,
}

impl Shard {
    pub(crate) fn new(log: Log, options: HubOptions, policy: Arc<dyn Policy>) -> Self {
        let mut options = options;
        if log.options().durability == Durability::Memory {
            // Nothing is ever more stored than it is at once.
            options.deliver = Deliver::Appended;
        }
        Self {
            log,
            options,
            policy,
            live: HashMap::new(),
            touched: Vec::new(),
            batch: None,
            held: HashSet::new(),
            tails: 0,
            waiting: HashMap::new(),
            cold: HashMap::new(),
            keyed: 0,
            delivered_runs: 0,
        }
    }

    /// The position behind the last delta of a document that readers may see.
    fn visible(&self, head: &Head) -> Position {
        visible(self.options.deliver, head)
    }

    /// Tells everybody who waits that something was stored, read back, or has room.
    #[cfg_attr(not(feature = "files"), expect(dead_code, reason = "only files are waited for"))]
    pub(crate) fn note_io(&mut self) {
        for doc_id in std::mem::take(&mut self.held) {
            self.publish(doc_id);
            let head = self.log.head(&doc_id);
            if head.is_some_and(|head| head.durable < head.next) {
                self.held.insert(doc_id);
            }
        }
        for (_, link) in self.waiting.drain() {
            link.note_stored();
        }
        for (_, reader) in self.cold.drain() {
            reader.wake();
        }
    }

    /// Has a link told when something was stored, or has room.
    pub(crate) fn wait(&mut self, link: &Arc<LinkShared>) {
        self.waiting.insert(Arc::as_ptr(link).addr(), link.clone());
    }

    fn live(&mut self, doc_id: DocId) -> &mut Live {
        let head = self.log.head(&doc_id);
        let end = head.as_ref().map_or(Position::FIRST, |head| self.visible(head));
        let epoch = head.map_or(Epoch::default(), |head| head.epoch);
        self.live.entry(doc_id).or_insert_with(|| Live {
            tail: Tail::new(epoch, end),
            readers: Slab::new(),
            by_key: 0,
            keys: None,
            rejections: Rejections::default(),
            presence: Presence::default(),
            onlookers: Slab::new(),
        })
    }

    /// One more reader. Gives its key, where it begins, and how that is told.
    pub(crate) fn join(
        &mut self,
        doc_id: DocId,
        start: Start,
        policy: SlowPolicy,
        reader: Arc<Reader>,
    ) -> (usize, Begin) {
        let begin = self.begin(&doc_id, start);
        let head = self.log.head(&doc_id);
        let end = head.as_ref().map(|head| (head.epoch, self.visible(head)));
        let live = self.live(doc_id);
        let first = live.readers.is_empty();
        let key = live.readers.insert(reader.clone());
        let newly = policy == SlowPolicy::LatestPerKey && live.keys.is_none();
        if newly {
            live.keys = Some(Box::default());
        }
        live.by_key += usize::from(policy == SlowPolicy::LatestPerKey);
        let begin = Begin { rejections: live.rejections.count(), ..begin };
        if let Some((epoch, end)) = end.filter(|_| first) {
            // What was written while nobody read is not in the tail.
            let old = std::mem::replace(&mut live.tail, Tail::new(epoch, end));
            self.tails -= old.bytes();
        }
        self.keyed += usize::from(newly);
        reader.wake();
        (key, begin)
    }

    fn begin(&self, doc_id: &DocId, start: Start) -> Begin {
        let Some(head) = self.log.head(doc_id) else {
            let position = Position::FIRST;
            let fresh = match start {
                Start::Position { epoch, position } => epoch == 0 && position <= 1,
                _ => true,
            };
            let why = if fresh { Why::Start } else { Why::NewEpoch };
            return Begin::new(why, Epoch::default(), position);
        };
        let epoch = head.epoch;
        let anew = anew(&head, self.visible(&head));
        match start {
            Start::Oldest => Begin::new(Why::Start, epoch, head.first),
            Start::Latest => Begin::new(Why::Start, epoch, self.visible(&head)),
            Start::Snapshot => Begin::new(Why::Start, epoch, anew),
            Start::Position { epoch: asked, position } => {
                let position = Position(position);
                let known = if asked == epoch.0 {
                    position <= head.next
                } else if let Some(until) = self.log.until(doc_id, Epoch(asked)) {
                    position <= until
                } else {
                    // A reader that was there before the document was.
                    asked == 0 && position <= Position::FIRST
                };
                let known = known || (asked == 0 && position <= Position::FIRST);
                if known {
                    Begin { resumes: true, ..Begin::new(Why::Start, epoch, position) }
                } else {
                    Begin::new(Why::NewEpoch, epoch, anew)
                }
            }
        }
    }

    pub(crate) fn leave(&mut self, doc_id: DocId, key: usize, policy: SlowPolicy) {
        if let Some(live) = self.live.get_mut(&doc_id) {
            live.readers.try_remove(key);
            live.by_key -= usize::from(policy == SlowPolicy::LatestPerKey);
            if live.by_key == 0 && live.keys.take().is_some() {
                self.keyed -= 1;
            }
            if live.readers.is_empty() {
                self.tails -= live.tail.bytes();
                live.tail = Tail::new(live.tail.epoch(), live.tail.end());
            }
        }
        self.let_go(doc_id);
    }

    fn let_go(&mut self, doc_id: DocId) {
        if let hashbrown::hash_map::Entry::Occupied(live) = self.live.entry(doc_id)
            && live.get().is_idle()
        {
            live.remove();
        }
    }

    /// Finds what a cursor reads next.
    pub(crate) fn find(
        &mut self,
        doc_id: DocId,
        epoch: Epoch,
        position: Position,
        reader: &Arc<Reader>,
    ) -> Found {
        let Some(head) = self.log.head(&doc_id) else {
            if epoch != Epoch::default() {
                let (why, to) = (Why::NewEpoch, Position::FIRST);
                return Found::Jump { why, epoch: Epoch::default(), to, records: 0, bytes: 0 };
            }
            return Found::AtHead(self.live(doc_id).tail.head());
        };
        if head.epoch != epoch {
            let (why, to) = if epoch == Epoch::default() {
                // The document is there now. What of it is gone already, the log says.
                (Why::Progress, Position::FIRST)
            } else {
                (Why::NewEpoch, anew(&head, self.visible(&head)))
            };
            return Found::Jump { why, epoch: head.epoch, to, records: 0, bytes: 0 };
        }
        let end = self.visible(&head);
        if position >= end {
            let tail = &self.live(doc_id).tail;
            // Where its end lies elsewhere, the next batch puts that right.
            return Found::AtHead(if tail.end() == position && tail.epoch() == epoch {
                tail.head()
            } else {
                std::sync::Weak::new()
            });
        }
        match self.log.read(&doc_id, position, MAX_RUN) {
            Read::Run(run) => {
                let ahead = self.log.read_ahead(&doc_id, &run);
                Found::Run(until(run, end), ahead)
            }
            Read::Gap(gap) => {
                // Part of it is gone, so a snapshot behind that stands for all of it.
                let to = head.snapshot.map_or(gap.to, |snapshot| gap.to.max(snapshot.at));
                let why = if head.snapshot.is_some_and(|snapshot| snapshot.at == to) {
                    Why::Snapshot
                } else {
                    Why::Expired
                };
                let records = to.since(position);
                Found::Jump { why, epoch, to, records, bytes: gap.bytes }
            }
            Read::Cold(request) => {
                self.log.want(request);
                self.cold.insert(Arc::as_ptr(reader).addr(), reader.clone());
                Found::Cold
            }
            Read::AtHead | Read::Unknown => Found::AtHead(std::sync::Weak::new()),
        }
    }

    // Presence.

    pub(crate) fn say(
        &mut self,
        doc_id: DocId,
        writer: u64,
        frame: Option<Bytes>,
        now: Duration,
    ) -> bool {
        let until = now.saturating_add(self.options.presence_timeout);
        let max = self.options.max_present;
        let live = self.live(doc_id);
        let watched = !live.onlookers.is_empty();
        let taken = live.presence.say(writer, frame, until, max, watched);
        for (_, reader) in &live.onlookers {
            reader.wake();
        }
        self.let_go(doc_id);
        taken
    }

    pub(crate) fn look(&mut self, doc_id: DocId, reader: Arc<Reader>) -> usize {
        let live = self.live(doc_id);
        reader.wake();
        live.onlookers.insert(reader)
    }

    pub(crate) fn look_away(&mut self, doc_id: DocId, key: usize) {
        if let Some(live) = self.live.get_mut(&doc_id) {
            live.onlookers.try_remove(key);
            if live.onlookers.is_empty() {
                live.presence.forget_all_gone();
            }
        }
        self.let_go(doc_id);
    }

    pub(crate) fn word(&self, doc_id: &DocId, seen: u64) -> Option<(u64, Word)> {
        self.live.get(doc_id)?.presence.next(seen)
    }

    /// The version of the last one that was forgotten to have gone.
    pub(crate) fn forgotten(&self, doc_id: &DocId) -> u64 {
        self.live.get(doc_id).map_or(0, |live| live.presence.forgotten())
    }

    /// Where a slow reader at `position` goes on by its policy, and why; `None` if it is to miss nothing.
    pub(crate) fn pass_over(
        &self,
        doc_id: &DocId,
        epoch: Epoch,
        position: Position,
        policy: SlowPolicy,
    ) -> Option<(Why, Position)> {
        let head = self.log.head(doc_id).filter(|head| head.epoch == epoch)?;
        let end = self.visible(&head);
        let (why, to) = match policy {
            SlowPolicy::Latest => (Why::Slow, self.newest_kept(doc_id, position, end)),
            SlowPolicy::DropOldest { bytes: 0, records: 0 } => return None,
            SlowPolicy::DropOldest { bytes, records } => {
                let no_bound = |bound| if bound == 0 { u64::MAX } else { bound };
                let (bytes, records) = (no_bound(bytes), no_bound(records));
                let within = position..end;
                (Why::Slow, self.log.oldest_within(doc_id, within, bytes, records))
            }
            SlowPolicy::SnapshotThenTail { records } => {
                let at = head.snapshot.map(|snapshot| snapshot.at).filter(|at| *at < end);
                (Why::Snapshot, at.filter(|at| at.since(position) >= records.max(1)))
            }
            _ => return None,
        };
        to.filter(|to| *to > position).map(|to| (why, to))
    }

    /// Once a second: what is old goes.
    pub(crate) fn tick(&mut self, now: Now) {
        let remembered = self.options.presence_timeout;
        self.live.retain(|_, live| {
            if live.presence.expire(now.elapsed, remembered) {
                for (_, reader) in &live.onlookers {
                    reader.wake();
                }
            }
            !live.is_idle()
        });
        self.log.retain(now);
    }

    /// Readers, and writers that are present.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let readers = self.live.values().map(|live| live.readers.len()).sum();
        let present = self.live.values().map(|live| live.presence.len()).sum();
        (readers, present)
    }

    /// Documents that somebody looks at.
    pub(crate) fn live_documents(&self) -> impl Iterator<Item = LiveDocument> {
        self.live.iter().map(|(doc_id, live)| LiveDocument {
            doc_id: *doc_id,
            head: self.log.head(doc_id),
            readers: live.readers.len(),
            present: live.presence.len(),
        })
    }

    pub(crate) fn live_ids(&self) -> Vec<DocId> {
        self.live.keys().copied().collect()
    }

    pub(crate) fn readers_of(&self, doc_id: &DocId) -> impl Iterator<Item = &Arc<Reader>> {
        self.live.get(doc_id).into_iter().flat_map(|live| &live.readers).map(|(_, reader)| reader)
    }

    pub(crate) fn tail_bytes(&self) -> usize {
        self.tails
    }

    /// The hub goes away: readers of this process get no more.
    pub(crate) fn go_away(&self) {
        for (_, reader) in self.live.values().flat_map(|live| &live.readers) {
            reader.go_away();
        }
    }

    /// Forgets a document. Its readers are told when they read on.
    pub(crate) fn forget(&mut self, doc_id: DocId, now: Now) -> bool {
        let known = self.log.forget(&doc_id, now);
        self.log.end_batch(now);
        if let Some(live) = self.live.get_mut(&doc_id) {
            self.tails -= live.tail.bytes();
            live.tail = Tail::new(Epoch::default(), Position::FIRST);
            live.rejections.clear();
            if let Some(keys) = &mut live.keys {
                keys.clear();
            }
            for (_, reader) in &live.readers {
                reader.wake();
            }
        }
        known
    }
}

/// Where a subscription begins, and how that is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    pub(crate) why: Why,
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
    /// Whether its reader was there before, and may have what was rejected since.
    pub(crate) resumes: bool,
    /// Of how many of the document's rejections it need not be told.
    pub(crate) rejections: u64,
}

impl Begin {
    pub(crate) const fn new(why: Why, epoch: Epoch, position: Position) -> Self {
        Self { why, epoch, position, resumes: false, rejections: 0 }
    }
}

/// Where a reader begins that has nothing: with the newest snapshot in front of `end`, or the oldest delta.
fn anew(head: &Head, end: Position) -> Position {
    let snapshot = head.snapshot.map(|snapshot| snapshot.at).filter(|at| *at < end);
    snapshot.unwrap_or(head.first)
}

/// The position behind the last delta of a document that readers may see.
fn visible(deliver: Deliver, head: &Head) -> Position {
    match deliver {
        Deliver::Appended => head.next,
        Deliver::Stored => head.durable,
    }
}

/// What of a run lies in front of `end`.
fn until(mut run: Run, end: Position) -> Run {
    if run.next > end {
        run.next = end.max(run.first);
        run.records.retain(|record| record.position < end);
    }
    run
}
