//! What a log was, from its segments. No I/O: works on bytes.

mod recovered;

use core::ops::Range;
use std::collections::VecDeque;

use deltawire_framing::{DocId, StatusBits};

use crate::format::{
    self, Body, Checked, CheckedIndex, Compacted, IndexFooter, Item, ItemKind, STEP, Said,
    SegmentHeader,
};
use crate::log::{
    Batches, Documents, Entry, IndexState, Protected, Segment, SegmentState, Written,
};
use crate::position::{Epoch, LogPosition};

/// Writers of a document that are remembered until a log with its options takes over.
const MAX_WRITERS: usize = 4_096;

/// What was found on the disk is there: none is protected, and there is room for all.
const ALL: Protected = Protected { durable: LogPosition(u64::MAX), young: LogPosition(u64::MAX) };

/// How a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tail {
    /// It was closed. Or there is none yet.
    Closed,
    /// It was not closed, but the last thing that was written is whole. What was appended and not written is not known.
    Whole,
    /// What was written last is not whole, and none of it had been synced: it is cut off, with the segments behind it.
    Torn {
        /// The segment.
        segment: u64,
        /// Where, bytes from its start.
        at: u64,
        /// Bytes that are cut off, of each segment up to the last that is not zero.
        bytes: u64,
        /// Records and notes among them, as far as can be told.
        items: u64,
    },
    /// Something is wrong in front of what had been synced: bytes have changed since, or a file is missing. What lies in
    /// front is there; nothing is cut off, and nothing can be written.
    Damaged {
        /// The segment.
        segment: u64,
        /// Where, bytes from its start.
        at: u64,
        /// The field at fault, named as in `FORMAT.md`.
        field: &'static str,
    },
}

/// Finds out what a log was. Give it all segments, in the order of their numbers; each is looked at once and not kept.
#[derive(Debug)]
pub struct Recovery {
    found: Recovered,
    /// What is wrong with the end of the segments so far: the next one may show that it is damage.
    tail: Option<Tail>,
    any: bool,
    /// Behind the last item that says that the log was closed; where the log begins, if none does.
    closed: LogPosition,
    /// What the last segment stands for, if that is a compacted one.
    stands_for: Range<LogPosition>,
    /// Where the log was opened last.
    opened: LogPosition,
}

/// What a log was: what [`Log::open`](crate::Log::open) goes on from.
#[derive(Debug)]
pub struct Recovered {
    pub(crate) shard: u32,
    pub(crate) fresh: Epoch,
    pub(crate) documents: Documents,
    pub(crate) batches: Batches,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) next: LogPosition,
    pub(crate) chain: u32,
    pub(crate) wall: u64,
    pub(crate) kept_bytes: u64,
    pub(crate) tail: Tail,
    /// Segments behind a tear, newest first.
    pub(crate) behind: Vec<u64>,
    /// Segments that a compacted one stands for, oldest first.
    pub(crate) replaced: Vec<u64>,
}

impl Recovery {
    /// Begins, for log number `shard` of a directory. `fresh` is an epoch that no document of the log ever had, such as
    /// a random number: documents have it from now on unless the log was closed, and those that are made.
    #[must_use]
    pub fn new(shard: u32, fresh: Epoch) -> Self {
        Self {
            found: Recovered {
                shard,
                fresh,
                documents: Documents::default(),
                batches: Batches::default(),
                segments: VecDeque::new(),
                next: LogPosition(0),
                chain: 0,
                wall: 0,
                kept_bytes: 0,
                tail: Tail::Closed,
                behind: Vec::new(),
                replaced: Vec::new(),
            },
            tail: None,
            any: false,
            closed: LogPosition(0),
            stands_for: LogPosition(0)..LogPosition(0),
            opened: LogPosition(0),
        }
    }

    /// Says where the log was opened last: what [`Recovered::next`] was then, made durable before anything was appended.
    /// A log that was closed before that, and not since, was not closed: what was appended is not there.
    pub fn opened(&mut self, at: LogPosition) {
        self.opened = at;
    }

    /// Bytes at the end of a segment that are its index, by its last 64. `None` if it has none: then all of it has to be
    /// read.
    #[must_use]
    pub fn index_len(id: u64, last: &[u8], file_len: u64) -> Option<u64> {
        Some(IndexFooter::read(last, id, file_len).ok()?.index_len())
    }

    /// Takes in the next segment by its index, in place of [`segment`](Self::segment): `header` are its first 64 bytes,
    /// `index` its last, as many as [`index_len`](Self::index_len) says. Its batches are checked when they are read.
    /// `false` if the index is not sound, or not the next; nothing has changed then.
    pub fn indexed(&mut self, id: u64, header: &[u8], index: &[u8], file_len: u64) -> bool {
        if matches!(self.found.tail, Tail::Damaged { .. }) {
            return true;
        }
        let Ok(header) = format::segment_header(header, id) else { return false };
        let first = LogPosition(header.first.get());
        if header.shard.get() == self.found.shard && self.is_replaced(first) {
            self.found.replaced.push(id);
            return true;
        }
        let chain = header.chain.get();
        let is_next = !self.any
            || (first == self.found.next
                && chain == self.found.chain
                && self.found.behind.is_empty());
        if header.shard.get() != self.found.shard || !is_next {
            return false;
        }
        let Ok(index) = format::index(index, id, file_len, header) else { return false };
        let Some(wall) = self.begin(id, header) else { return true };
        self.found.wall = self.found.wall.max(wall);
        self.take_index(id, &index, header.compacted());
        true
    }

    /// Whether a segment can be opened by what would be its stub.
    #[cfg(feature = "object-store")]
    pub(crate) fn is_stub(id: u64, stub: &[u8]) -> bool {
        let (header, index) = stub.split_at_checked(STEP).unwrap_or_default();
        let Ok(header) = format::segment_header(header, id) else { return false };
        let file_len = IndexFooter::file_len(index);
        file_len.is_some_and(|file_len| format::index(index, id, file_len, header).is_ok())
    }

    /// The segment that was told last was about to be put elsewhere, and what was begun there may still come to its end: it is not
    /// compacted.
    #[cfg(feature = "files")]
    pub(crate) fn was_to_leave(&mut self, id: u64) {
        if let Some(last) = self.found.segments.back_mut().filter(|last| last.id == id) {
            last.spoiled = true;
        }
    }

    /// Takes in the next segment, which is kept elsewhere: `stub` are its first 64 bytes and its index.
    pub fn archived(&mut self, id: u64, stub: &[u8]) {
        let (header, index) = stub.split_at_checked(STEP).unwrap_or_default();
        let file_len = IndexFooter::file_len(index);
        if !file_len.is_some_and(|file_len| self.indexed(id, header, index, file_len)) {
            self.found.tail = Tail::Damaged { segment: id, at: 0, field: "index" };
        } else if let Some(last) = self.found.segments.back_mut().filter(|last| last.id == id) {
            last.archived = true;
        }
    }

    /// Takes in the next segment, with the number that its file's name says.
    pub fn segment(&mut self, id: u64, bytes: &[u8]) {
        if matches!(self.found.tail, Tail::Damaged { .. }) {
            return;
        }
        let damaged = |at, field| Tail::Damaged { segment: id, at, field };
        let header = match format::segment_header(bytes, id) {
            Ok(header) => *header,
            Err(field) => {
                self.found.tail = damaged(0, field);
                return;
            }
        };
        if header.shard.get() != self.found.shard {
            self.found.tail = damaged(0, "shard");
            return;
        }
        let first = LogPosition(header.first.get());
        if self.is_replaced(first) {
            self.found.replaced.push(id);
            return;
        }
        let is_next = first == self.found.next && header.chain.get() == self.found.chain;
        if is_next && self.found.behind.is_empty() {
            // Nothing is missing: what is wrong with the end of the one before is its index.
            self.tail = None;
        } else if self.any && (self.tail.is_some() || first > self.found.next) {
            self.behind(id, bytes, LogPosition(header.synced.get()));
            return;
        } else if self.any {
            let field = if first == self.found.next { "chain" } else { "first" };
            self.found.tail = damaged(0, field);
            return;
        }
        if self.begin(id, &header).is_some() {
            match header.compacted() {
                Some(compacted) => self.compacted_batches(id, bytes, compacted),
                None => self.batches(id, bytes),
            }
        }
    }

    /// Whether a segment with this first position is one that the compacted segment in front of it stands for.
    fn is_replaced(&self, first: LogPosition) -> bool {
        self.found.behind.is_empty() && self.stands_for.contains(&first)
    }

    /// Begins with a segment that is the next.
    fn begin(&mut self, id: u64, header: &SegmentHeader) -> Option<u64> {
        let first = LogPosition(header.first.get());
        if !self.any {
            (self.found.next, self.found.chain) = (first, header.chain.get());
            (self.any, self.closed) = (true, first);
        }
        self.stands_for = first..header.compacted().map_or(first, |it| it.end);
        self.tail = None;
        let wall = header.created_at.get();
        self.found.wall = self.found.wall.max(wall);
        self.found.segments.push_back(Segment {
            id,
            state: SegmentState::Sealed,
            header: None,
            len: STEP as u64,
            full: true,
            end_batch: self.found.batches.end(),
            end: first,
            oldest: wall,
            newest: wall,
            documents: Vec::new(),
            index: IndexState::Missing,
            archived: false,
            leaving: false,
            spoiled: false,
            compacted: header.compacted().is_some(),
        });
        Some(wall)
    }

    /// Takes in a segment behind one whose end is missing: part of the tear, unless it says that this end was synced.
    fn behind(&mut self, id: u64, bytes: &[u8], synced: LogPosition) {
        let rest = format::rest(bytes.get(STEP..).unwrap_or_default(), id, self.found.next);
        let is_synced = synced.max(rest.synced) > self.found.next;
        let last = self.found.segments.back().map_or((id, 0), |last| (last.id, last.len));
        match &mut self.tail {
            Some(Tail::Torn { segment, at, .. }) if is_synced => {
                self.found.tail = Tail::Damaged { segment: *segment, at: *at, field: "batch" };
            }
            _ if is_synced => {
                self.found.tail = Tail::Damaged { segment: id, at: 0, field: "first" };
            }
            Some(Tail::Torn { bytes, items, .. }) => {
                *bytes += STEP as u64 + rest.bytes;
                *items += rest.items;
            }
            tail => {
                let (segment, at) = last;
                let bytes = STEP as u64 + rest.bytes;
                *tail = Some(Tail::Torn { segment, at, bytes, items: rest.items });
            }
        }
        self.found.behind.insert(0, id);
    }

    fn batches(&mut self, id: u64, bytes: &[u8]) {
        let mut at = STEP;
        loop {
            let left = bytes.get(at..).unwrap_or_default();
            let field = match format::batch(left, id, self.found.next, self.found.chain) {
                Ok(batch) => {
                    let len = batch.bytes.len();
                    self.take(id, at as u64, &batch);
                    at += len;
                    continue;
                }
                Err(field) => field,
            };
            let last = bytes.len().saturating_sub(IndexFooter::SIZE);
            let last = bytes.get(last..).unwrap_or_default();
            let footer = IndexFooter::read(last, id, bytes.len() as u64).ok();
            if let Some(footer) = footer.filter(|footer| footer.at.get() == at as u64) {
                if let Some(segment) = self.found.segments.back_mut() {
                    segment.index = IndexState::Written { len: footer.index_len() };
                }
                return;
            }
            let rest = format::rest(left, id, self.found.next);
            if rest.synced > self.found.next {
                self.found.tail = Tail::Damaged { segment: id, at: at as u64, field };
            } else if rest.bytes != 0 {
                let (bytes, items) = (rest.bytes, rest.items);
                self.tail = Some(Tail::Torn { segment: id, at: at as u64, bytes, items });
            }
            return;
        }
    }

    /// Takes in a compacted segment. It was synced as a whole before it took the place of others: whatever is wrong with
    /// it is damage.
    fn compacted_batches(&mut self, id: u64, bytes: &[u8], compacted: Compacted) {
        let mut at = STEP;
        for _ in 0..compacted.batches {
            let left = bytes.get(at..).unwrap_or_default();
            let (within, chain) = (self.found.next..compacted.end, self.found.chain);
            match format::compacted_batch(left, id, within, chain) {
                Ok(batch) => {
                    self.take(id, at as u64, &batch);
                    at += batch.bytes.len();
                }
                Err(field) => {
                    self.found.tail = Tail::Damaged { segment: id, at: at as u64, field };
                    return;
                }
            }
        }
        self.found.end_compacted(compacted);
        let last = bytes.get(bytes.len().saturating_sub(IndexFooter::SIZE)..).unwrap_or_default();
        let footer = IndexFooter::read(last, id, bytes.len() as u64).ok();
        if let Some(footer) = footer.filter(|footer| footer.at.get() == at as u64)
            && let Some(segment) = self.found.segments.back_mut()
        {
            segment.index = IndexState::Written { len: footer.index_len() };
        }
    }

    fn take(&mut self, id: u64, at: u64, batch: &Checked<'_>) {
        let header = batch.header;
        let (len, written_at) = (header.len.get(), header.written_at.get());
        self.found.next = LogPosition(header.first.get());
        let number = self.found.batch(id, at, len, written_at, true);
        self.found.chain = header.header_crc.get();
        for (item, position) in batch.items().flatten().zip(batch.positions()) {
            // Of a compacted batch some are missing.
            self.found.next = position;
            match batch.body(&item) {
                Ok(Body::Record { security, frame }) => {
                    let (len, status) = (frame.as_bytes().len() as u32, security.status());
                    if let Ok(delta) = frame.delta() {
                        let entry = Entry::new(number as u32, item.offset, len, status);
                        self.record(&item, delta.doc_id(), delta.sequence(), entry);
                    }
                }
                Ok(Body::Note(note)) => self.note(&item, note),
                // They were checked before.
                Err(_) => {}
            }
        }
        self.found.end_batch(at + u64::from(len), number, written_at);
    }

    fn take_index(&mut self, id: u64, index: &CheckedIndex<'_>, compacted: Option<Compacted>) {
        let mut items = index.items.iter();
        for batch in index.batches {
            let (len, written_at, at) = (batch.len.get(), batch.written_at.get(), batch.at());
            let first = LogPosition(batch.first.get());
            self.found.next = first;
            let number = self.found.batch(id, at, len, written_at, false);
            for (nth, listed) in items.by_ref().take(batch.items.get() as usize).enumerate() {
                let Some(item) = listed.entry.item() else { continue };
                self.found.next = index.position(first, listed, nth);
                match listed.said(&item) {
                    Said::Record { doc, len, sequence, bits } => {
                        let status = StatusBits::from_bits(bits);
                        let entry = Entry::new(number as u32, item.offset, len, status);
                        self.record(&item, doc, sequence, entry);
                    }
                    Said::Note(note) => self.note(&item, &note),
                }
            }
            self.found.end_batch(at + u64::from(len), number, written_at);
        }
        self.found.chain = index.footer.chain.get();
        if let Some(compacted) = compacted {
            self.found.end_compacted(compacted);
        }
        if let Some(segment) = self.found.segments.back_mut() {
            segment.index = IndexState::Written { len: index.footer.index_len() };
        }
    }

    fn record(&mut self, item: &Item, doc: DocId, sequence: u32, entry: Entry) {
        let at = self.found.next;
        self.found.next = at.next();
        let written = Written { sequence, position: item.position, at };
        self.found.record(doc, item.epoch, entry, written, item.origin);
    }

    fn note(&mut self, item: &Item, note: &format::Note) {
        let at = self.found.next;
        self.found.next = at.next();
        if item.kind == ItemKind::Closed {
            self.closed = at.next();
        }
        self.found.note(item.kind, item.epoch, note, at);
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Recovered {
        if !matches!(self.found.tail, Tail::Damaged { .. }) {
            let nothing = self.found.next == LogPosition(0);
            // What was left out behind it counts: it was written after the log had been closed.
            let is_closed = self.closed == self.found.next;
            let closed = is_closed && (nothing || self.found.next > self.opened);
            let end = if closed { Tail::Closed } else { Tail::Whole };
            self.found.tail = self.tail.unwrap_or(end);
        }
        self.found
    }
}
