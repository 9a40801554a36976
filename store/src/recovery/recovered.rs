//! What was found, item by item.

use deltawire_framing::{DocId, StatusBits};

use super::{ALL, MAX_WRITERS, Recovered, Tail};
use crate::format::{self, Compacted, ItemKind, STEP};
use crate::log::{Batch, Check, Document, Entry, KeptSnapshot, Memory, Written};
use crate::position::{Epoch, LogPosition, Origin, Position};

impl Recovered {
    /// How it ended.
    #[must_use]
    pub const fn tail(&self) -> Tail {
        self.tail
    }

    /// Records that documents have.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.documents.iter().map(|document| document.entries.len() as u64).sum()
    }

    /// Documents that are known.
    #[must_use]
    pub fn documents(&self) -> usize {
        self.documents.len()
    }

    /// The position behind the last item that is there.
    #[must_use]
    pub const fn next(&self) -> LogPosition {
        self.next
    }

    /// Segments that lie behind a tear, in the order in which they have to be deleted: before [`cut`](Self::cut), and
    /// durably.
    #[must_use]
    pub fn behind(&self) -> &[u64] {
        if matches!(self.tail, Tail::Damaged { .. }) { &[] } else { &self.behind }
    }

    /// Segments that a compacted one stands for: what they still had is in that. They are to be deleted, after the names in
    /// the directory were made durable, and before anything is written.
    #[must_use]
    pub fn replaced(&self) -> &[u64] {
        if matches!(self.tail, Tail::Damaged { .. }) { &[] } else { &self.replaced }
    }

    /// The last segment and the bytes that it has to be cut to before anything is written. `None` if there is no segment,
    /// or nothing may be cut. Unless the log was closed, the other segments have to be synced as well.
    #[must_use]
    pub fn cut(&self) -> Option<(u64, u64)> {
        if matches!(self.tail, Tail::Damaged { .. }) {
            return None;
        }
        self.segments.back().map(|last| (last.id, last.len + last.index.len()))
    }

    /// The numbers of the segments that hold something.
    #[cfg(all(unix, feature = "files"))]
    pub(crate) fn segments(&self) -> impl Iterator<Item = u64> {
        self.segments.iter().map(|segment| segment.id)
    }

    /// Begins a batch; returns its number.
    pub(super) fn batch(
        &mut self,
        segment: u64,
        at: u64,
        len: u32,
        written_at: u64,
        checked: bool,
    ) -> u64 {
        self.wall = self.wall.max(written_at);
        self.kept_bytes += u64::from(len);
        self.batches.push(Batch {
            memory: Memory::Gone,
            first: self.next,
            len,
            chunk: 0,
            segment,
            at,
            written_at,
            live: 0,
            records: 0,
            check: if checked { Check::Sound } else { Check::Never },
        })
    }

    /// Ends it, at `end` bytes from its segment's start.
    pub(super) fn end_batch(&mut self, end: u64, number: u64, written_at: u64) {
        let next = self.next;
        if let Some(segment) = self.segments.back_mut() {
            if segment.len == STEP as u64 {
                segment.oldest = written_at;
            }
            segment.newest = written_at;
            segment.len = end;
            segment.end_batch = number + 1;
            segment.end = next;
        }
    }

    /// Ends a compacted segment: what it stands for goes on behind its last item.
    pub(super) fn end_compacted(&mut self, compacted: Compacted) {
        (self.next, self.chain) = (compacted.end, compacted.behind);
        if let Some(segment) = self.segments.back_mut() {
            segment.end = compacted.end;
        }
    }

    fn mention(&mut self, number: u32) {
        if let (Some(document), Some(segment)) =
            (self.documents.get_mut(number), self.segments.back_mut())
            && document.mentioned != segment.id
        {
            document.mentioned = segment.id;
            segment.documents.push(number);
        }
    }

    fn document(&mut self, doc: DocId, epoch: Epoch, first: Position) -> u32 {
        let number = self.documents.number(&doc).unwrap_or_else(|| {
            let document = Document { first, ..Document::new(doc, epoch) };
            self.documents.insert(document)
        });
        self.mention(number);
        if let (Some(document), Some(segment)) =
            (self.documents.get_mut(number), self.segments.back())
        {
            document.placed = segment.id;
        }
        number
    }

    pub(super) fn record(
        &mut self,
        doc: DocId,
        epoch: Epoch,
        entry: Entry,
        written: Written,
        origin: Origin,
    ) {
        let number = self.document(doc, epoch, written.position);
        if self.documents.get(number).is_some_and(|it| it.appended() != written.position) {
            // Another life of the document, of which nothing is known but this.
            self.clear(number);
        }
        let Some(document) = self.documents.get_mut(number) else { return };
        if document.entries.len() == 0 {
            document.first = written.position;
        }
        document.epoch = epoch;
        document.bytes += u64::from(entry.len);
        let grown = document.entries.push(entry);
        let writers = document.remember(origin, written, written.at, MAX_WRITERS, ALL);
        self.documents.heap = (self.documents.heap + grown).saturating_add_signed(writers);
        let batch = self.batches.number_of(entry.batch);
        if let Some(batch) = self.batches.get_mut(batch) {
            batch.live += 1;
            batch.records += 1;
        }
    }

    fn clear(&mut self, number: u32) {
        while let Some(document) = self.documents.get_mut(number)
            && let Some((entry, freed)) = document.entries.pop()
        {
            document.bytes -= u64::from(entry.len);
            document.snapshot = None;
            self.documents.heap -= freed;
            let batch = self.batches.number_of(entry.batch);
            if let Some(batch) = self.batches.get_mut(batch) {
                batch.live = batch.live.saturating_sub(1);
            }
        }
    }

    pub(super) fn note(
        &mut self,
        kind: ItemKind,
        epoch: Epoch,
        note: &format::Note,
        at: LogPosition,
    ) {
        let position = Position(note.position.get());
        match kind {
            ItemKind::Stamp => {
                let Some(number) = self.documents.number(&note.doc) else { return };
                self.mention(number);
                let Some(document) = self.documents.get_mut(number) else { return };
                let bits = StatusBits::from_bits(note.bits.get());
                if let Some(index) = document.index_of(position)
                    && let Some(entry) = document.entries.get_mut(index)
                {
                    entry.switch_on(bits);
                }
                let rejected = bits.contains(StatusBits::REJECTED);
                document.rejected |= rejected;
                if rejected && document.snapshot.is_some_and(|known| known.at == position) {
                    document.snapshot = None;
                }
            }
            ItemKind::Snapshot => {
                let Some(number) = self.documents.number(&note.doc) else { return };
                self.mention(number);
                let Some(document) = self.documents.get_mut(number) else { return };
                let covers = Position(note.value.get());
                if document.index_of(position).is_some() && covers < position {
                    document.snapshot = Some(KeptSnapshot { at: position, covers, note: at });
                }
            }
            ItemKind::Forget => {
                if let Some(number) = self.documents.number(&note.doc) {
                    self.clear(number);
                    self.documents.remove(number);
                }
            }
            ItemKind::Floor => {
                let number = self.document(note.doc, epoch, position);
                if self.documents.get(number).is_some_and(|it| it.appended() != position) {
                    self.clear(number);
                }
                if let Some(document) = self.documents.get_mut(number) {
                    document.epoch = epoch;
                    if document.entries.len() == 0 {
                        document.first = position;
                    }
                }
            }
            ItemKind::Writer => {
                // What says where the document is may have gone with its segment, and been said again behind this.
                let number = match self.documents.number(&note.doc) {
                    Some(number) => number,
                    None => self.document(note.doc, epoch, position.next()),
                };
                self.mention(number);
                let Some(document) = self.documents.get_mut(number) else { return };
                let written = Written {
                    sequence: note.bits.get(),
                    position,
                    at: LogPosition(note.value.get()),
                };
                let grown = document.remember(Origin(note.by), written, at, MAX_WRITERS, ALL);
                self.documents.heap = self.documents.heap.saturating_add_signed(grown);
            }
            ItemKind::Opened => {
                // What is in front of it is what had survived then. Where some of that went with its segment, a document may seem
                // shorter than it was: then readers of that epoch begin anew.
                let grown = self.documents.iter_mut().map(|it| it.renew(epoch)).sum::<usize>();
                self.documents.heap += grown;
            }
            ItemKind::Closed | ItemKind::Record => {}
        }
    }
}
