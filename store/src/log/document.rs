use deltawire_framing::DocId;
use hashbrown::HashMap;
use slab::Slab;

use super::entries::{Entries, Entry};
use super::reading::{GapReason, Previous};
use crate::position::{Epoch, LogPosition, Origin, Position};

/// A snapshot of a document, and when it is safe to rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptSnapshot {
    pub(crate) at: Position,
    pub(crate) covers: Position,
    /// The note that says so.
    pub(crate) note: LogPosition,
}

/// What an origin wrote last to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The delta header's `sequence`.
    pub sequence: u32,
    /// The record's place in its document. The record itself may have been dropped since.
    pub position: Position,
    /// Its place in the log: it is durable when this is below [`Log::durable`](crate::Log::durable).
    pub at: LogPosition,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) origin: Origin,
    pub(crate) written: Written,
    /// Log position of the newest item that says so: the record, or a note in its place.
    pub(crate) mentioned: LogPosition,
}

/// What the log knows of a document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) id: DocId,
    pub(crate) epoch: Epoch,
    /// The epochs before, oldest first.
    pub(crate) previous: Vec<Previous>,
    /// Position of the first entry.
    pub(crate) first: Position,
    pub(crate) entries: Entries,
    /// How many of the entries are not readable yet, or a few more if some of them are gone.
    pub(crate) pending: usize,
    /// Bytes of frames.
    pub(crate) bytes: u64,
    pub(crate) snapshot: Option<KeptSnapshot>,
    pub(crate) writers: Vec<Writer>,
    /// Whether a record was rejected, one that is gone perhaps.
    pub(crate) rejected: bool,
    /// Why the last records went that did.
    pub(crate) gone: GapReason,
    /// The number of the batch of the last that went since the log was opened: it may have gone before the disk had it.
    pub(crate) dropped: Option<u64>,
    /// The segment with the newest item that tells of the document.
    pub(crate) mentioned: u64,
    /// The segment with the newest item that says where the document is: a record, or a note in its place.
    pub(crate) placed: u64,
}

/// Epochs of a document that are remembered beside the one that it has.
const MAX_PREVIOUS: usize = 8;

/// Writers of a document that are remembered at the very most, whatever they have to send again.
const MAX_WRITERS: usize = 4_096;

/// Writers of a document that are remembered at most because they wrote not long ago.
const MAX_YOUNG: usize = 1_024;

/// Which writers are not forgotten for there being others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protected {
    /// Those that wrote at it or behind: they may have to send that again.
    pub(crate) durable: LogPosition,
    /// Those that wrote at it or behind, up to [`MAX_YOUNG`].
    pub(crate) young: LogPosition,
}

impl Document {
    pub(crate) fn new(id: DocId, epoch: Epoch) -> Self {
        Self {
            id,
            epoch,
            previous: Vec::new(),
            first: Position::FIRST,
            entries: Entries::default(),
            pending: 0,
            bytes: 0,
            snapshot: None,
            writers: Vec::new(),
            rejected: false,
            gone: GapReason::Expired,
            dropped: None,
            mentioned: 0,
            placed: 0,
        }
    }

    /// The position that the next record gets.
    pub(crate) fn appended(&self) -> Position {
        Position(self.first.0 + self.entries.len() as u64)
    }

    /// The first position that cannot be read yet.
    pub(crate) fn next(&self) -> Position {
        let readable = self.entries.len().saturating_sub(self.pending);
        Position(self.first.0 + readable as u64)
    }

    /// From here on it has another epoch, as something that was seen may be lost. Returns by how many bytes the memory grew.
    pub(crate) fn renew(&mut self, epoch: Epoch) -> usize {
        let before = self.previous.capacity();
        let until = self.appended();
        for older in &mut self.previous {
            older.until = older.until.min(until);
        }
        if self.previous.len() == MAX_PREVIOUS {
            self.previous.remove(0);
        }
        self.previous.reserve_exact(1);
        self.previous.push(Previous { epoch: self.epoch, until });
        self.epoch = epoch;
        (self.previous.capacity() - before) * size_of::<Previous>()
    }

    /// Forgets all epochs but the one that it has and the one before.
    pub(crate) fn forget_epochs(&mut self) {
        self.previous.drain(..self.previous.len().saturating_sub(1));
        self.previous.shrink_to_fit();
    }

    pub(crate) fn index_of(&self, at: Position) -> Option<usize> {
        let index = usize::try_from(at.0.checked_sub(self.first.0)?).ok()?;
        (index < self.entries.len()).then_some(index)
    }

    pub(crate) fn entry(&self, at: Position) -> Option<&Entry> {
        self.entries.get(self.index_of(at)?)
    }

    pub(crate) fn last_of(&self, origin: &Origin) -> Option<&Writer> {
        self.writers.iter().find(|writer| writer.origin == *origin)
    }

    /// Remembers what `origin` wrote. If there are `most` already, the writer that wrote least recently is forgotten, unless it is
    /// protected. Returns by how many bytes the memory grew.
    pub(crate) fn remember(
        &mut self,
        origin: Origin,
        written: Written,
        mentioned: LogPosition,
        most: usize,
        protected: Protected,
    ) -> isize {
        if origin == Origin::NONE {
            return 0;
        }
        let writer = Writer { origin, written, mentioned };
        if let Some(known) = self.writers.iter_mut().find(|known| known.origin == origin) {
            if written.at >= known.written.at {
                *known = writer;
            }
            return 0;
        }
        let before = self.writers.capacity();
        if self.writers.len() >= most {
            // So that a list which has grown gets shorter again: two go for one that comes.
            if self.writers.len() > most
                && let Some(oldest) = self.oldest_writer(protected)
            {
                self.writers.swap_remove(oldest);
                if self.writers.len() < self.writers.capacity() / 4 {
                    self.writers.shrink_to(2 * self.writers.len());
                }
            }
            let oldest = self.oldest_writer(protected);
            if let Some(oldest) = oldest.and_then(|oldest| self.writers.get_mut(oldest)) {
                if oldest.written.at <= written.at {
                    *oldest = writer;
                }
                return self.writers_grew(before);
            }
        }
        if self.writers.capacity() == self.writers.len() {
            let more = self.writers.len().max(1);
            // Up to `most` no more than is needed.
            let room = most.checked_sub(self.writers.len()).filter(|room| *room > 0);
            self.writers.reserve_exact(more.min(room.unwrap_or(more)));
        }
        self.writers.push(writer);
        self.writers_grew(before)
    }

    fn writers_grew(&self, before: usize) -> isize {
        (self.writers.capacity() as isize - before as isize) * size_of::<Writer>() as isize
    }

    /// The writer that wrote least recently, if it may be forgotten.
    fn oldest_writer(&self, protected: Protected) -> Option<usize> {
        let at = |(_, known): &(usize, &Writer)| known.written.at;
        let (index, oldest) = self.writers.iter().enumerate().min_by_key(at)?;
        let from = match self.writers.len() {
            MAX_WRITERS.. => return Some(index),
            MAX_YOUNG.. => protected.durable,
            _ => protected.durable.min(protected.young),
        };
        (oldest.written.at < from).then_some(index)
    }

    /// Forgets all but the `most` writers that wrote most recently, and those that wrote at `young` or behind.
    pub(crate) fn forget_writers(&mut self, most: usize, young: LogPosition) {
        if self.writers.len() > most {
            self.writers.sort_unstable_by_key(|writer| std::cmp::Reverse(writer.written.at));
            let young = self.writers.partition_point(|writer| writer.written.at >= young);
            self.writers.truncate(young.min(MAX_YOUNG).max(most));
            self.writers.shrink_to_fit();
        }
    }

    /// Bytes of memory of its writers.
    pub(crate) fn writers_bytes(&self) -> usize {
        self.writers.capacity() * size_of::<Writer>()
    }

    /// Bytes that it has taken of the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.entries.heap_bytes()
            + self.writers_bytes()
            + self.previous.capacity() * size_of::<Previous>()
    }
}

/// The documents of a log, by a small number while they are known.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    numbers: HashMap<DocId, u32, foldhash::fast::RandomState>,
    known: Slab<Document>,
    /// Bytes that the documents themselves have taken of the heap.
    pub(crate) heap: usize,
    /// What of it their writers have.
    pub(crate) writers: usize,
}

impl Documents {
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn number(&self, id: &DocId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub(crate) fn by_id(&self, id: &DocId) -> Option<&Document> {
        self.get(self.number(id)?)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Document> {
        self.known.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Document> {
        self.known.get_mut(number as usize)
    }

    pub(crate) fn insert(&mut self, document: Document) -> u32 {
        let id = document.id;
        let number = self.known.insert(document) as u32;
        self.numbers.insert(id, number);
        number
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Document> {
        let document = self.known.try_remove(number as usize)?;
        self.numbers.remove(&document.id);
        self.heap -= document.heap_bytes();
        self.writers = self.writers.saturating_sub(document.writers_bytes());
        Some(document)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &DocId> {
        self.numbers.keys()
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let last = self.known.iter().next_back().map_or(0, |(number, _)| number as u32 + 1);
        0..last
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Document> {
        self.known.iter().map(|(_, document)| document)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Document> {
        self.known.iter_mut().map(|(_, document)| document)
    }

    /// Bytes by which it grows with the next document, beside what that holds.
    pub(crate) fn growth(&self) -> usize {
        let list = if self.known.len() == self.known.capacity() { self.list_bytes() } else { 0 };
        let map = if self.numbers.len() == self.numbers.capacity() { self.map_bytes() } else { 0 };
        list + map
    }

    /// Bytes of memory: the documents, the map and all that they hold.
    pub(crate) fn bytes(&self) -> usize {
        self.heap + self.list_bytes() + self.map_bytes()
    }

    fn list_bytes(&self) -> usize {
        self.known.capacity() * (size_of::<Document>() + size_of::<usize>())
    }

    fn map_bytes(&self) -> usize {
        // A slot of the map has a byte of its own beside it; one in eight is kept free.
        self.numbers.capacity() * (size_of::<(DocId, u32)>() + 1) * 8 / 7
    }
}
