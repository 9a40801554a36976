//! What goes: for its age, for want of room, because a snapshot covers it.

use deltawire_framing::{DeltaHeader, DocId, FrameHeader};
use zerocopy::FromBytes;

use super::Log;
use super::batch::{Batch, Memory};
use super::reading::GapReason;
use crate::format::{BatchHeader, ItemKind, STEP, TableEntry};
use crate::position::{Now, Position};

impl Log {
    /// Drops what [`Retention`](crate::Retention) no longer keeps. Limits of memory, and those of a document, are kept
    /// at all times; ages, the log's bytes and snapshots when this is called.
    ///
    /// With files, what goes is whole segments, oldest first, and a record may stay a quarter longer than its age. What
    /// has to be said in place of a segment ends the batch, as [`end_batch`](Self::end_batch) does: call this between
    /// batches.
    pub fn retain(&mut self, now: Now) {
        self.tell(now);
        self.use_snapshots();
        if self.disk.is_some() {
            self.retain_segments(now);
            return;
        }
        let retention = self.options.retention;
        while self.counters.kept_bytes > retention.max_bytes && self.drop_oldest() {}
        if let Some(age) = retention.max_age {
            let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
            let wall = self.wall;
            let expired = |batch: &Batch| batch.written_at.saturating_add(age) <= wall;
            while self.batches.front().is_some_and(expired) && self.drop_oldest() {}
        }
        // What is dead in front costs its place in the list.
        while self.batches.front().is_some_and(|batch| batch.live == 0) && self.drop_oldest() {}
    }

    /// Drops what durable snapshots cover.
    fn use_snapshots(&mut self) {
        let durable = self.durable();
        for number in std::mem::take(&mut self.snapshots) {
            let Some(document) = self.documents.get(number) else { continue };
            let Some(snapshot) = document.snapshot else { continue };
            if snapshot.note >= durable {
                self.snapshots.push(number);
                continue;
            }
            let keep = self.options.retention.keep_after_snapshot;
            let floor = snapshot.covers.0.saturating_sub(keep).saturating_add(1);
            let floor = Position(floor.min(snapshot.at.0));
            while self.documents.get(number).is_some_and(|document| document.first < floor)
                && self.drop_front(number)
            {
                self.gone(number, GapReason::Snapshot);
            }
        }
    }

    fn gone(&mut self, number: u32, why: GapReason) {
        if let Some(document) = self.documents.get_mut(number) {
            document.gone = why;
        }
    }

    /// Keeps a document to its own limits; its last record stays.
    pub(super) fn bound_document(&mut self, number: u32) {
        let retention = self.options.retention;
        while let Some(document) = self.documents.get(number)
            && document.entries.len() > 1
            && (document.bytes > retention.per_document_bytes
                || document.entries.len() as u64 > retention.per_document_records)
            && self.drop_front(number)
        {
            self.gone(number, GapReason::Expired);
        }
    }

    /// Drops the oldest record of a document.
    pub(super) fn drop_front(&mut self, number: u32) -> bool {
        let Some(document) = self.documents.get_mut(number) else { return false };
        let Some((entry, freed)) = document.entries.pop() else { return false };
        document.first = document.first.next();
        document.bytes -= u64::from(entry.len);
        if document.snapshot.is_some_and(|snapshot| snapshot.at < document.first) {
            document.snapshot = None;
        }
        self.documents.heap -= freed;
        self.counters.dropped_records += 1;
        let batch = self.batches.number_of(entry.batch);
        if let Some(document) = self.documents.get_mut(number) {
            document.dropped = Some(batch);
        }
        if let Some(found) = self.batches.get_mut(batch) {
            found.live = found.live.saturating_sub(1);
            self.settle_dead(batch);
        } else if batch == self.batches.end() {
            self.open.drop_record();
        }
        true
    }

    /// Frees the memory of a batch that no document needs any more.
    pub(super) fn settle_dead(&mut self, number: u64) {
        let dead = self.batches.get(number).is_some_and(|batch| batch.live == 0);
        // What is dead goes to the disk nevertheless: what follows it does.
        if dead && self.disk_is_written(number) {
            self.free(number);
        }
    }

    /// Takes a batch out of memory; its place in the list stays.
    pub(super) fn free(&mut self, number: u64) {
        if let Some(batch) = self.batches.get_mut(number) {
            let chunk = batch.chunk;
            match std::mem::replace(&mut batch.memory, Memory::Gone) {
                Memory::Gone => {}
                Memory::Thawed(bytes) => self.cool(bytes.len()),
                Memory::Chunk(_) | Memory::Adopted(_) => self.chunks.release(chunk),
            }
        }
    }

    /// Keeps the records in memory to their limit, with `more` bytes that are about to be taken.
    pub(super) fn bound_memory(&mut self, more: usize) {
        while self.chunks.bytes() + more > self.options.max_hot_bytes {
            let done = if self.disk.is_some() { self.evict() } else { self.drop_oldest() };
            if !done {
                break;
            }
        }
    }

    /// Drops the oldest batch. `false` if there is none that has ended.
    pub(super) fn drop_oldest(&mut self) -> bool {
        if self.disk.is_some() {
            return self.drop_segment();
        }
        let number = self.batches.start();
        let Some(batch) = self.batches.front() else { return false };
        for doc in documents_in(batch) {
            if let Some(document) = self.documents.number(&doc) {
                self.drop_up_to(document, number);
            }
        }
        self.free(number);
        if let Some(batch) = self.batches.pop() {
            self.counters.kept_bytes -= u64::from(batch.len);
        }
        true
    }

    /// Drops the records of a document in batches up to `last`.
    pub(super) fn drop_up_to(&mut self, number: u32, last: u64) {
        while let Some(document) = self.documents.get(number)
            && let Some(entry) = document.entries.front()
            && self.batches.number_of(entry.batch) <= last
            && self.drop_front(number)
        {
            self.gone(number, GapReason::Expired);
        }
    }
}

/// The documents of the records in a batch that is in memory.
fn documents_in(batch: &Batch) -> Vec<DocId> {
    /// Where a record's document is named.
    const DOC_AT: usize = FrameHeader::SIZE + 16;
    const _: () = assert!(DeltaHeader::SIZE == 48);
    let (bytes, frame) = match &batch.memory {
        Memory::Gone => return Vec::new(),
        Memory::Chunk(bytes) | Memory::Thawed(bytes) => (bytes, None),
        Memory::Adopted(parts) => {
            let [head, frame, _] = &**parts;
            (head, Some(frame))
        }
    };
    let doc_at = |frame: &[u8]| DocId::read_from_prefix(frame.get(DOC_AT..)?).ok().map(|it| it.0);
    if let Some(frame) = frame {
        return doc_at(frame).into_iter().collect();
    }
    let Ok((header, _)) = BatchHeader::ref_from_prefix(bytes) else { return Vec::new() };
    let table = bytes.get(header.table.get() as usize..).unwrap_or_default();
    let mut found = Vec::new();
    for entry in table.chunks_exact(TableEntry::SIZE).take(header.items.get() as usize) {
        let Some(item) = TableEntry::ref_from_bytes(entry).ok().and_then(TableEntry::item) else {
            continue;
        };
        let frame = bytes.get((item.offset as usize + 1) * STEP..);
        if item.kind == ItemKind::Record
            && let Some(doc) = frame.and_then(doc_at)
            // Those of one document often lie together; to name it twice is only a look-up more.
            && found.last() != Some(&doc)
        {
            found.push(doc);
        }
    }
    found
}
