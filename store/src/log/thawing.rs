//! Records that have left memory, and come back from their segment when somebody reads them.

use bytes::{Bytes, BytesMut};
use deltawire_framing::DocId;
use zerocopy::FromBytes;

use super::Log;
use super::batch::{Batch, Check, Memory};
use super::disk::{Disk, Job};
use super::document::{Document, Documents};
use super::io::Io;
use super::reading::{Gap, GapReason, Read, ReadRequest, Run};
use crate::format::{self, BatchHeader, Body, STEP};
use crate::position::Position;

/// Bytes that are read at once at least, if so many follow: a disk needs no longer for them.
const READ_AHEAD: usize = 256 << 10;

/// Places at which is looked for what is to be read next.
const MAX_RUNS_AHEAD: usize = 8;

/// Frames are handed out at multiples of this many bytes.
const ALIGN: usize = 16;

impl Log {
    /// Asks for what a [`Read::Cold`] needs; read again after it has been read ([`handle_io`](Self::handle_io)), and soon:
    /// what was read back makes room for what is read back after it. Asking again for the same changes nothing.
    pub fn want(&mut self, request: ReadRequest) {
        let gone = self.batches.get(request.batch).is_some_and(Batch::is_gone);
        if !gone || !self.lies_there(&request) || self.is_asked(&request) {
            return;
        }
        let Some(disk) = self.disk.as_mut() else { return };
        let away = disk.is_archived(request.segment);
        let wanted = if away { &mut disk.wanted_away } else { &mut disk.wanted };
        wanted.push_back(request);
    }

    /// Asks for what whoever has read `run` of `doc` will need next and that is not in memory, so that it need not wait for that. Says
    /// whether it has; not while anybody waits for a read.
    pub fn read_ahead(&mut self, doc: &DocId, run: &Run) -> bool {
        let idle = |disk: &Disk| {
            disk.wanted.is_empty() && disk.wanted_away.is_empty() && !disk.is_reading()
        };
        if !self.disk.as_ref().is_some_and(idle) {
            return false;
        }
        let Some(document) = self.documents.by_id(doc) else { return false };
        // As much as is read at once.
        let bytes: usize = run.records.iter().map(|record| record.frame.len()).sum();
        let runs = (READ_AHEAD / bytes.max(1) + 1).min(MAX_RUNS_AHEAD);
        let step = run.next.since(run.first).max(1);
        let gone = |at: Position| {
            let number = self.batches.number_of(document.entry(at)?.batch);
            let batch = self.batches.get(number)?;
            (batch.is_gone() && !batch.is_damaged()).then_some(number)
        };
        let mut ahead = (0..runs as u64).map(|run_ahead| Position(run.next.0 + run_ahead * step));
        let Some(mut number) = ahead.find_map(gone) else { return false };
        // What lies between is needed before.
        let found = self.batches.get(number).map(|batch| (batch.segment, batch.at));
        while let Some(before) = number.checked_sub(1)
            && let Some(batch) = self.batches.get(before).filter(|batch| batch.is_gone())
            && found.is_some_and(|(segment, at)| {
                batch.segment == segment
                    && at
                        .checked_sub(batch.at)
                        .is_some_and(|before| before <= READ_AHEAD as u64 / 2)
            })
        {
            number = before;
        }
        let empty = |number| self.batches.get(number).is_some_and(|batch| batch.len == 0);
        while empty(number) {
            number += 1;
        }
        let request = self.request(number, READ_AHEAD);
        self.want(request);
        request.len > 0
    }

    /// Whether the first batch of a request was asked for already.
    fn is_asked(&self, request: &ReadRequest) -> bool {
        let Some(disk) = &self.disk else { return false };
        let mut asked = disk.reads().chain(&disk.wanted).chain(&disk.wanted_away);
        asked.any(|asked| {
            let has = asked.at..asked.at + u64::from(asked.len);
            asked.segment == request.segment && has.contains(&request.at) && self.lies_there(asked)
        })
    }

    /// Whether the batches of a request lie where it says: they may have moved since it was made.
    fn lies_there(&self, request: &ReadRequest) -> bool {
        let (mut number, mut len) = (request.batch, 0);
        while len < u64::from(request.len)
            && let Some(batch) = self.batches.get(number)
            && (batch.len == 0 || batch.at == request.at + len)
            && batch.segment == request.segment
        {
            len += u64::from(batch.len);
            number += 1;
        }
        len == u64::from(request.len)
    }

    pub(super) fn poll_read(&mut self) -> Option<Io> {
        let most = self.options.max_cold_bytes / 2;
        let disk = self.disk.as_mut()?;
        let (mut here, mut away) = (0, 0);
        for (_, job) in &disk.in_flight {
            match job {
                Job::Read { request } => {
                    let archived = disk.is_archived(request.segment);
                    *(if archived { &mut away } else { &mut here }) += request.len as usize;
                }
                Job::CompactRead { len, .. } => here += len,
                _ => {}
            }
        }
        let held = |request: &&ReadRequest| {
            !disk.compaction.as_ref().is_some_and(|it| it.holds(request.segment))
        };
        let fits = |reading: usize, others: usize, most: usize| {
            move |request: &&ReadRequest| {
                reading == 0 || reading + others + request.len as usize <= most
            }
        };
        let request = if let Some(request) =
            disk.wanted.front().filter(fits(here, away, most)).filter(held)
        {
            let request = *request;
            disk.wanted.pop_front();
            request
        } else {
            // An archive that answers late, or not at all, takes half of the room at most.
            let request = *disk.wanted_away.front().filter(fits(away, 0, most / 2))?;
            disk.wanted_away.pop_front();
            request
        };
        let ReadRequest { segment, at, len, .. } = request;
        self.counters.cold_reads += 1;
        let token = disk.begin(Job::Read { request });
        Some(Io::Read { token, segment, at, len: len as usize })
    }

    /// The batch, and those behind it in its segment that are worth reading at once.
    pub(super) fn request(&self, number: u64, most: usize) -> ReadRequest {
        let most = most.clamp(READ_AHEAD, self.options.max_cold_bytes / 4);
        let (mut segment, mut at, mut len) = (0, 0, 0);
        for next in number..self.batches.end() {
            let Some(batch) = self.batches.get(next) else { break };
            if next == number {
                (segment, at) = (batch.segment, batch.at);
            } else if batch.segment != segment
                || !batch.is_gone()
                || len as usize + batch.len as usize > most
            {
                break;
            }
            len += batch.len;
        }
        ReadRequest { batch: number, segment, at, len }
    }

    /// Takes in what was read.
    pub(super) fn thaw(&mut self, request: ReadRequest, bytes: Bytes) {
        let bytes =
            if bytes.as_ptr().addr().is_multiple_of(ALIGN) { bytes } else { aligned(&bytes) };
        let mut start = 0;
        let mut number = request.batch;
        while start < request.len as usize
            && let Some(batch) = self.batches.get_mut(number)
        {
            if batch.len == 0 {
                // Nothing is left of it.
                number += 1;
                continue;
            }
            let end = start + batch.len as usize;
            let found = bytes.get(start..end).filter(|found| is_sound(batch, found));
            let is_listed = |found: &[u8]| {
                batch.check == Check::Sound || is_listed(&self.documents, number, batch, found)
            };
            let is_sound = found.is_some_and(is_listed);
            if batch.check != Check::Damaged {
                self.counters.damaged_batches += u64::from(!is_sound);
                batch.check = if is_sound { Check::Sound } else { Check::Damaged };
            }
            if is_sound && batch.is_gone() && batch.live != 0 {
                batch.memory = Memory::Thawed(bytes.slice(start..end));
                if let Some(disk) = self.disk.as_mut() {
                    disk.thawed.push_back(number);
                    disk.thawed_bytes += end - start;
                }
            }
            (start, number) = (end, number + 1);
        }
        self.bound_thawed();
    }

    /// A read failed: of several batches the first is asked for by itself, as any of them may be why; a batch that was is damaged.
    pub(super) fn read_alone_or_mark(&mut self, request: ReadRequest) {
        let Some(batch) = self.batches.get_mut(request.batch) else { return };
        if batch.len < request.len && batch.len > 0 {
            let alone = ReadRequest { len: batch.len, ..request };
            return self.want(alone);
        }
        self.counters.damaged_batches += 1;
        batch.check = Check::Damaged;
    }

    /// Where batches lie that were found damaged when they were read back: segment, and bytes from its start. Their records
    /// are never handed out; reading them gives a gap ([`GapReason::Damaged`]).
    pub fn damaged(&self) -> impl Iterator<Item = (u64, u64)> {
        self.batches.iter().filter(|it| it.is_damaged()).map(|batch| (batch.segment, batch.at))
    }

    /// What there is in place of records whose bytes are damaged.
    pub(super) fn damaged_gap(&self, document: &Document, from: Position, end: Position) -> Read {
        let mut to = from;
        while to < end
            && let Some(entry) = document.entry(to)
            && self
                .batches
                .get(self.batches.number_of(entry.batch))
                .is_some_and(|batch| batch.is_damaged())
        {
            to = to.next();
        }
        Read::Gap(Gap { to, why: GapReason::Damaged, records: to.since(from), bytes: 0 })
    }

    /// Takes the oldest batch that is written out of memory. `false` if there is none.
    pub(super) fn evict(&mut self) -> bool {
        let start = self.batches.start();
        let Some(disk) = self.disk.as_mut() else { return false };
        disk.evicted = disk.evicted.max(start);
        while disk.evicted < disk.written {
            let number = disk.evicted;
            disk.evicted += 1;
            let memory = self.batches.get(number).map(|batch| &batch.memory);
            if matches!(memory, Some(Memory::Chunk(_) | Memory::Adopted(_))) {
                self.free(number);
                return true;
            }
        }
        false
    }

    /// So many bytes that had been read back were let go.
    pub(super) fn cool(&mut self, len: usize) {
        if let Some(disk) = self.disk.as_mut() {
            disk.thawed_bytes = disk.thawed_bytes.saturating_sub(len);
        }
    }

    fn bound_thawed(&mut self) {
        let most = self.options.max_cold_bytes;
        while let Some(disk) = self.disk.as_mut()
            && disk.thawed_bytes > most
            && let Some(oldest) = disk.thawed.pop_front()
        {
            if self.batches.get(oldest).is_some_and(|it| matches!(it.memory, Memory::Thawed(_))) {
                self.free(oldest);
            }
        }
    }
}

/// Whether these are the bytes of the batch.
fn is_sound(batch: &Batch, bytes: &[u8]) -> bool {
    let Ok((header, body)) = BatchHeader::ref_from_prefix(bytes) else { return false };
    header.magic == BatchHeader::MAGIC
        && header.header_crc.get() == header.own_crc()
        && header.first.get() == batch.first.0
        && header.segment.get() == batch.segment
        && header.len.get() == batch.len
        && header.body_crc.get() == crc32c::crc32c(body)
}

/// Whether all of a batch of which only an index has told so far is as it should be, and the documents have of it what it
/// holds, and nothing else.
fn is_listed(documents: &Documents, number: u64, batch: &Batch, bytes: &[u8]) -> bool {
    let Ok(checked) = format::batch_alone(bytes, batch.segment, batch.first) else {
        return false;
    };
    let mut listed = 0;
    for item in checked.items().flatten() {
        let Ok(Body::Record { frame, .. }) = checked.body(&item) else { continue };
        let Ok(delta) = frame.delta() else { return false };
        let entry = documents.by_id(&delta.doc_id()).and_then(|it| it.entry(item.position));
        // Records that their documents no longer have are nobody's.
        let of_it = entry.filter(|entry| entry.batch == number as u32);
        if let Some(entry) = of_it.filter(|entry| entry.offset == item.offset) {
            if entry.len as usize != frame.as_bytes().len() {
                return false;
            }
            listed += 1;
        }
    }
    listed == batch.live
}

fn aligned(bytes: &[u8]) -> Bytes {
    let mut place = BytesMut::with_capacity(bytes.len() + STEP);
    let gap = place.spare_capacity_mut().as_ptr().align_offset(STEP).min(STEP);
    place.resize(gap, 0);
    place.extend_from_slice(bytes);
    place.freeze().slice(gap..)
}
