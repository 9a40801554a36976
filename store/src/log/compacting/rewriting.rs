use core::ops::Range;

use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U16, U32, U64};

use super::{Compaction, Log, SLICE, Stop};
use crate::format::{
    self, BatchHeader, Body, Checked, Compacted, Item, ItemKind, Listed, Note, STEP, TableEntry,
};
use crate::log::disk::Job;
use crate::log::io::Io;
use crate::position::{LogPosition, Origin};

impl Log {
    /// The next slice to read: batches of one segment, with its header in front of the first. `None` behind the last.
    pub(super) fn read_to_compact(&mut self) -> Option<Io> {
        let compaction = self.disk.as_mut()?.compaction.as_mut()?;
        let is_there = |number: &u64| self.batches.get(*number).is_some_and(|it| it.len > 0);
        let first = (compaction.next..compaction.end).find(is_there)?;
        let (segment, mut at, mut len) = {
            let batch = self.batches.get(first)?;
            (batch.segment, batch.at, batch.len as usize)
        };
        let mut to = first + 1;
        while to < compaction.end
            && let Some(batch) = self.batches.get(to)
            && batch.segment == segment
            && len + batch.len as usize <= SLICE
        {
            len += batch.len as usize;
            to += 1;
        }
        if compaction.source.is_none_or(|source| source.segment.get() != segment) {
            compaction.source = None;
            (at, len) = (0, len + at as usize);
        }
        compaction.next = first;
        let token = self.disk.as_mut()?.begin(Job::CompactRead { segment, to, len });
        Some(Io::Read { token, segment, at, len })
    }

    /// Looks through a slice that was read, up to a batch, and puts what is needed of it behind what waits to be written.
    pub(super) fn compact_slice(
        &mut self,
        segment: u64,
        to: u64,
        bytes: &[u8],
    ) -> Result<(), Stop> {
        let Some(disk) = self.disk.as_mut() else { return Err(Stop::Later) };
        let Some(mut compaction) = disk.compaction.take() else { return Err(Stop::Later) };
        let done = self.compact_batches(&mut compaction, to, bytes);
        let listed = compaction.listed.as_ref().map_or(0, Listed::bytes);
        let is_long = listed + compaction.out.len() > self.options.max_cold_bytes / 4;
        if let Some(disk) = self.disk.as_mut() {
            disk.compaction = Some(compaction);
        }
        done.ok_or(Stop::Spoiled(segment))?;
        if is_long { Err(Stop::Long) } else { Ok(()) }
    }

    /// `None` if something is wrong with what was read.
    fn compact_batches(
        &mut self,
        compaction: &mut Compaction,
        to: u64,
        mut bytes: &[u8],
    ) -> Option<()> {
        let segment = self.batches.get(compaction.next)?.segment;
        if compaction.source.is_none() {
            let (header, behind) = bytes.split_at_checked(STEP)?;
            self.begin_source(compaction, segment, header)?;
            bytes = behind;
        }
        let source = compaction.source?;
        for number in compaction.next..to {
            let len = self.batches.get(number)?.len as usize;
            if len == 0 {
                continue;
            }
            let (found, behind) = bytes.split_at_checked(len)?;
            bytes = behind;
            let first = self.batches.get(number)?.first;
            let checked = match source.compacted() {
                Some(it) => {
                    format::compacted_batch(found, segment, first..it.end, compaction.chain)
                }
                None => format::batch(found, segment, first, compaction.chain),
            };
            let checked = checked.ok().filter(|it| it.bytes.len() == len)?;
            compaction.chain = checked.header.header_crc.get();
            self.compact_batch(compaction, number, &checked)?;
        }
        compaction.next = to;
        let is_last =
            self.disk.as_ref()?.segments.iter().any(|it| it.id == segment && it.end_batch == to);
        // Batches of which nothing was left may lie behind the last that is there.
        let rest =
            (to..compaction.end).find(|it| self.batches.get(*it).is_some_and(|it| it.len > 0));
        let is_over =
            rest.and_then(|it| self.batches.get(it)).is_none_or(|it| it.segment != segment);
        if (is_last || is_over)
            && let Some(compacted) = source.compacted()
        {
            compaction.chain = compacted.behind;
        }
        Some(())
    }

    /// Begins with another segment, and with the first of them begins the new one.
    fn begin_source(&self, compaction: &mut Compaction, segment: u64, header: &[u8]) -> Option<()> {
        let disk = self.disk.as_ref()?;
        let header = *format::segment_header(header, segment).ok()?;
        if header.shard.get() != disk.shard {
            return None;
        }
        if compaction.header.is_none() {
            let end = disk.segments.iter().find(|it| it.id == compaction.last)?.end;
            let new = header.standing_for(Compacted { end, behind: 0, batches: 0 });
            compaction.listed = Some(Listed::new(compaction.first, &new));
            (compaction.header, compaction.chain) = (Some(new), header.chain.get());
        } else if header.chain.get() != compaction.chain {
            return None;
        }
        compaction.source = Some(header);
        Some(())
    }

    fn compact_batch(
        &self,
        compaction: &mut Compaction,
        number: u64,
        old: &Checked<'_>,
    ) -> Option<()> {
        let listed = compaction.listed.as_mut()?;
        let mut batch = Rebuilt::new(&mut compaction.out);
        let mut live = 0;
        for (item, position) in old.items().flatten().zip(old.positions()) {
            let nth = u32::try_from(position.0.checked_sub(old.header.first.get())?).ok()?;
            match self.kept(number, &item, position, old)? {
                Kept::Record(within) => {
                    live += 1;
                    batch.push(old.bytes.get(within)?, item, nth);
                }
                Kept::Note(within) => batch.push(old.bytes.get(within)?, item, nth),
                Kept::Writer(note) => {
                    batch.push(note.as_bytes(), Item { kind: ItemKind::Writer, ..item }, nth);
                }
                Kept::Not => {}
            }
        }
        // What documents have of it was found, and nothing else.
        if self.batches.get(number)?.live != live {
            return None;
        }
        let end = listed.next;
        if let Some(bytes) = batch.end(old.header, compaction.first, listed.chain) {
            // The same check as for anything that is read: whatever was made here is what can be read back.
            let checked = listed.check(bytes).ok()?;
            listed.push(&checked).ok()?;
            compaction.numbers.push(number);
        }
        debug_assert!(listed.next >= end, "positions count up");
        Some(())
    }

    /// What is kept of an item.
    fn kept(
        &self,
        number: u64,
        item: &Item,
        position: LogPosition,
        batch: &Checked<'_>,
    ) -> Option<Kept> {
        let start = item.offset as usize * STEP;
        match batch.body(item).ok()? {
            Body::Record { frame, .. } => {
                let delta = frame.delta().ok()?;
                let Some(document) = self.documents.by_id(&delta.doc_id()) else {
                    return Some(Kept::Not);
                };
                let entry = document.entry(item.position);
                let own = entry.filter(|it| it.batch == number as u32 && it.offset == item.offset);
                if own.is_some() {
                    return Some(Kept::Record(start..start + STEP + frame.as_bytes().len()));
                }
                // What its writer wrote last is remembered by it, and by nothing else.
                let writer = document
                    .last_of(&item.origin)
                    .filter(|it| item.origin != Origin::NONE && it.mentioned == position);
                Some(writer.map_or(Kept::Not, |writer| {
                    let mut note = Note::new(delta.doc_id(), batch.header.written_at.get());
                    note.position = U64::new(writer.written.position.0);
                    note.value = U64::new(writer.written.at.0);
                    note.bits = U32::new(writer.written.sequence);
                    note.by = item.origin.0;
                    Kept::Writer(Box::new(note))
                }))
            }
            // All of them: a record that went may be there again when the log is opened, from a segment that is not
            // compacted, until retention finds it once more. It must not come without what was said of it.
            Body::Note(_) => Some(Kept::Note(start..start + STEP)),
        }
    }
}

/// What is left of an item: these bytes of its batch, something in its place, or nothing.
enum Kept {
    Record(Range<usize>),
    Note(Range<usize>),
    Writer(Box<Note>),
    Not,
}

/// A batch that is made anew, behind what waits to be written.
struct Rebuilt<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    table: Vec<u8>,
    nths: Vec<u8>,
}

impl<'a> Rebuilt<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.resize(start + BatchHeader::SIZE, 0);
        Self { out, start, table: Vec::new(), nths: Vec::new() }
    }

    fn pad(&mut self) {
        let len = self.out.len() - self.start;
        self.out.resize(self.start + len.next_multiple_of(STEP), 0);
    }

    fn push(&mut self, bytes: &[u8], item: Item, nth: u32) {
        let offset = ((self.out.len() - self.start) / STEP) as u32;
        self.out.extend_from_slice(bytes);
        self.pad();
        self.table.extend_from_slice(TableEntry::new(Item { offset, ..item }).as_bytes());
        self.nths.extend_from_slice(&nth.to_le_bytes());
    }

    /// The whole batch, for a segment and behind a chain; `None` if nothing is in it.
    fn end(mut self, old: &BatchHeader, segment: u64, chain: u32) -> Option<&'a [u8]> {
        if self.table.is_empty() {
            self.out.truncate(self.start);
            return None;
        }
        let table = self.out.len() - self.start;
        let items = self.table.len() / TableEntry::SIZE;
        self.out.extend_from_slice(&self.table);
        self.out.extend_from_slice(&self.nths);
        self.pad();
        let batch = self.out.get_mut(self.start..)?;
        let len = batch.len();
        let (place, body) = batch.split_at_mut_checked(BatchHeader::SIZE)?;
        let header = BatchHeader {
            version: U16::new(BatchHeader::COMPACTED),
            len: U32::new(len as u32),
            items: U32::new(items as u32),
            segment: U64::new(segment),
            table: U32::new(table as u32),
            body_crc: U32::new(crc32c::crc32c(body)),
            chain: U32::new(chain),
            ..*old
        };
        place.copy_from_slice(header.sealed().as_bytes());
        Some(batch)
    }
}
