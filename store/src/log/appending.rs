use bytes::{Bytes, BytesMut};
use deltawire_framing::{Channel, DocId, Frame, StatusBits};
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U16, U32, U64};

use super::Log;
use super::batch::{Batch, Check, Memory};
use super::chunk::Open;
use super::document::{Document, Written};
use super::entries::Entry;
use crate::error::{Refused, Room};
use crate::format::{BatchHeader, Item, ItemKind, STEP, TableEntry};
use crate::options::Durability;
use crate::position::{Epoch, LogPosition, Now, Origin, Position};

/// Bytes of the index that a record may add at once: a block of entries, a batch, a document, a writer.
const INDEX_GROWTH: usize = 8 << 10;

/// Frames start at multiples of this many bytes (WIRE.md, §1), also when they are adopted.
const ADOPTED_ALIGN: usize = 16;

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place in its document.
    pub position: Position,
    /// Its place in the log.
    pub at: LogPosition,
    /// The document's epoch.
    pub epoch: Epoch,
}

impl Log {
    /// Stores a delta: copies its frame, once, behind what was stored before. It can be read when the batch has ended.
    ///
    /// The frame is stored with the data channel's number, whichever it came on. Its checksum is not computed: that is
    /// done where bytes enter a node.
    ///
    /// # Errors
    /// [`Refused::NotADelta`], [`Refused::TooLong`], [`Refused::TooManyDocuments`], [`Refused::Full`] or
    /// [`Refused::ReadOnly`].
    pub fn append(
        &mut self,
        frame: Frame<'_>,
        origin: Origin,
        now: Now,
    ) -> Result<Appended, Refused> {
        let delta = frame.delta().map_err(Refused::NotADelta)?;
        let (doc, sequence) = (delta.doc_id(), delta.sequence());
        let len = frame.as_bytes().len();
        let number = self.admit(&doc, len, now)?;
        self.make_chunk(STEP + len, now);
        let offset = self.open.push_frame(frame);
        self.counters.copied_bytes += len as u64;
        Ok(self.commit(doc, number, offset, len, sequence, origin, now))
    }

    /// Stores a delta without copying it: for long ones, since its memory is kept for it alone, with 256 bytes of headers.
    /// `frame` is a whole frame, header included. It is copied, as [`append`](Self::append) does, if it does not start at
    /// a multiple of 16 or is not of the data channel.
    ///
    /// # Errors
    /// As [`append`](Self::append), with the frame.
    pub fn adopt(
        &mut self,
        frame: Bytes,
        origin: Origin,
        now: Now,
    ) -> Result<Appended, (Refused, Bytes)> {
        let adopted = match Frame::parse(&frame) {
            Err(error) => Err(Refused::NotADelta(error)),
            Ok(view) if !can_be_adopted(&frame, view) => self.append(view, origin, now),
            Ok(view) => match view.delta() {
                Err(error) => Err(Refused::NotADelta(error)),
                Ok(delta) => {
                    let (doc, sequence) = (delta.doc_id(), delta.sequence());
                    match self.admit(&doc, frame.len(), now) {
                        Err(refused) => Err(refused),
                        Ok(number) => {
                            return Ok(
                                self.adopt_admitted(doc, number, frame, sequence, origin, now)
                            );
                        }
                    }
                }
            },
        };
        adopted.map_err(|refused| (refused, frame))
    }

    fn adopt_admitted(
        &mut self,
        doc: DocId,
        number: Option<u32>,
        frame: Bytes,
        sequence: u32,
        origin: Origin,
        now: Now,
    ) -> Appended {
        // What was appended before it lies in front of it.
        self.close_batch(now);
        let len = frame.len();
        let (appended, item) = self.enter(doc, number, 1, len, sequence, origin);
        let gap = len.next_multiple_of(STEP) - len;
        let mut tail = BytesMut::zeroed(gap + STEP);
        if let Some(place) = tail.get_mut(gap..gap + TableEntry::SIZE) {
            place.copy_from_slice(TableEntry::new(item).as_bytes());
        }
        let tail = tail.freeze();
        let table = (2 * STEP + len + gap) as u32;
        let whole = table as usize + STEP;
        let security = [0; STEP];
        let place = self.place(whole, appended.at);
        let header = self.seal(place, whole, 1, appended.at, table, &[&security, &frame, &tail]);
        let mut head = BytesMut::with_capacity(2 * STEP);
        head.extend_from_slice(header.as_bytes());
        head.extend_from_slice(&security);
        let chunk = self.chunks.begin_own(whole);
        self.counters.adopted_bytes += len as u64;
        let memory = Memory::Adopted(Box::new([head.freeze(), frame, tail]));
        self.push_batch(memory, place, appended.at, 1, whole, chunk, 1);
        self.bound_memory(0);
        appended
    }

    /// Whether there is room for a frame of `len` bytes for `doc`. Returns the document's number, if it has one.
    pub(super) fn admit(
        &mut self,
        doc: &DocId,
        len: usize,
        now: Now,
    ) -> Result<Option<u32>, Refused> {
        self.tell(now);
        self.check_writable()?;
        if len > self.options.max_record {
            let limit = self.options.max_record as u64;
            return Err(Refused::TooLong { len: len as u64, limit });
        }
        let number = self.documents.number(doc);
        self.make_room(len + 2 * STEP, number.is_none())?;
        if number.is_none() && self.documents.len() >= self.options.max_documents {
            return Err(Refused::TooManyDocuments { limit: self.options.max_documents as u64 });
        }
        Ok(number)
    }

    pub(super) fn check_writable(&self) -> Result<(), Refused> {
        match &self.broken {
            Some(broken) => Err(Refused::ReadOnly(broken.clone())),
            None => Ok(()),
        }
    }

    /// Makes room for so many bytes that will be dirty, and for what the index grows by.
    pub(super) fn make_room(&mut self, len: usize, is_new: bool) -> Result<(), Refused> {
        if let Some(disk) = &self.disk {
            let value = disk.dirty + self.open.len() + len;
            let limit = self.options.max_dirty_bytes;
            if value > limit {
                let (value, limit) = (value as u64, limit as u64);
                return Err(Refused::Full { room: Room::Dirty, value, limit });
            }
        }
        let limit = self.options.max_index_bytes;
        let grown = |log: &Self| {
            let document = if is_new { log.documents.growth() } else { 0 };
            log.index_bytes() + log.batches.growth() + document + INDEX_GROWTH
        };
        let mut value = grown(self);
        while value > limit {
            if !self.drop_oldest() {
                let (value, limit) = (value as u64, limit as u64);
                return Err(Refused::Full { room: Room::Index, value, limit });
            }
            value = grown(self);
        }
        Ok(())
    }

    /// Sees to it that the open chunk has room for an item, ending the batch if it takes another chunk.
    pub(super) fn make_chunk(&mut self, item_len: usize, now: Now) {
        if self.open.has_room(item_len) {
            return;
        }
        self.close_batch(now);
        if self.open.has_room(item_len) {
            return;
        }
        let len = self.options.chunk.max(Open::chunk_for(item_len));
        self.bound_memory(len);
        let chunk = self.chunks.take(len);
        let full = self.open.replace_chunk(chunk);
        self.chunks.begin_open(len, full);
    }

    /// Enters a record whose frame lies in the open batch.
    #[expect(clippy::too_many_arguments, reason = "two callers, and each is told something else")]
    pub(super) fn commit(
        &mut self,
        doc: DocId,
        number: Option<u32>,
        offset: u32,
        len: usize,
        sequence: u32,
        origin: Origin,
        now: Now,
    ) -> Appended {
        let (appended, item) = self.enter(doc, number, offset, len, sequence, origin);
        self.open.enter(item, true);
        if self.options.durability == Durability::Each {
            self.close_batch(now);
        }
        appended
    }

    /// Enters a record of the open batch, or of the one that is about to be pushed, into the index.
    fn enter(
        &mut self,
        doc: DocId,
        number: Option<u32>,
        offset: u32,
        len: usize,
        sequence: u32,
        origin: Origin,
    ) -> (Appended, Item) {
        let number =
            number.unwrap_or_else(|| self.documents.insert(Document::new(doc, self.epoch)));
        let protected = self.protected();
        let entry = Entry::new(self.batches.end() as u32, offset, len as u32, StatusBits::NONE);
        let at = self.next;
        self.next = at.next();
        let mut appended = Appended { position: Position::FIRST, at, epoch: self.epoch };
        let mut trim = false;
        if let Some(document) = self.documents.get_mut(number) {
            appended.position = document.appended();
            appended.epoch = document.epoch;
            if document.pending == 0 {
                self.touched.push(number);
            }
            document.pending += 1;
            document.bytes += len as u64;
            let written = Written { sequence, position: appended.position, at };
            let grown = document.entries.push(entry);
            let writers =
                document.remember(origin, written, at, self.options.max_writers, protected);
            let retention = &self.options.retention;
            trim = document.bytes > retention.per_document_bytes
                || document.entries.len() as u64 > retention.per_document_records;
            self.documents.writers = self.documents.writers.saturating_add_signed(writers);
            self.documents.heap = (self.documents.heap + grown).saturating_add_signed(writers);
        }
        if let Some(disk) = &mut self.disk {
            disk.mentions.push((number, true));
        }
        self.counters.appended_records += 1;
        self.counters.appended_bytes += len as u64;
        if trim {
            self.bound_document(number);
        }
        let item = Item {
            kind: ItemKind::Record,
            offset,
            position: appended.position,
            epoch: appended.epoch,
            origin,
        };
        (appended, item)
    }

    /// Ends the batch that is being written, if there is anything in it.
    pub(super) fn close_batch(&mut self, now: Now) {
        self.tell(now);
        let items = self.open.items();
        if items == 0 {
            return;
        }
        let first = self.closed();
        let records = self.open.records();
        let len = self.open.len();
        let place = self.place(len, first);
        let mut open = std::mem::take(&mut self.open);
        let bytes = open.end(|table, body| self.seal(place, len, items, first, table, &[body]));
        self.open = open;
        debug_assert!(bytes.len() == len);
        let chunk = self.chunks.open();
        self.chunks.hold(chunk);
        self.push_batch(Memory::Chunk(bytes), place, first, items, len, chunk, records);
    }

    /// The header of a batch of `len` bytes whose bytes behind the header are `body`.
    fn seal(
        &mut self,
        (segment, _): (u64, u64),
        len: usize,
        items: u32,
        first: LogPosition,
        table: u32,
        body: &[&[u8]],
    ) -> BatchHeader {
        let mut header = BatchHeader {
            magic: BatchHeader::MAGIC,
            version: U16::new(BatchHeader::VERSION),
            flags: U16::ZERO,
            len: U32::new(len as u32),
            items: U32::new(items),
            first: U64::new(first.0),
            written_at: U64::new(self.wall),
            segment: U64::ZERO,
            synced: U64::ZERO,
            table: U32::new(table),
            body_crc: U32::ZERO,
            chain: U32::ZERO,
            header_crc: U32::ZERO,
        };
        // In memory nobody checks them.
        if let Some(disk) = &mut self.disk {
            header.segment = U64::new(segment);
            header.synced = U64::new(disk.synced.0);
            let body_crc = body.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
            header.body_crc = U32::new(body_crc);
            header.chain = U32::new(disk.chain);
            header = header.sealed();
            disk.chain = header.header_crc.get();
        }
        header
    }

    #[expect(clippy::too_many_arguments, reason = "what a batch is made of")]
    fn push_batch(
        &mut self,
        memory: Memory,
        (segment, at): (u64, u64),
        first: LogPosition,
        items: u32,
        len: usize,
        chunk: u64,
        records: u32,
    ) {
        self.times.note(self.wall, first, self.options.remember_writers);
        if let Some(segment) = self.disk.as_mut().and_then(|disk| disk.segments.back_mut()) {
            segment.end = LogPosition(first.0 + u64::from(items));
        }
        let number = self.batches.push(Batch {
            memory,
            first,
            len: len as u32,
            chunk,
            segment,
            at,
            written_at: self.wall,
            live: records,
            records,
            check: Check::Sound,
        });
        self.counters.kept_bytes += len as u64;
        self.settle_dead(number);
    }
}

fn can_be_adopted(frame: &Bytes, view: Frame<'_>) -> bool {
    frame.as_ptr().addr().is_multiple_of(ADOPTED_ALIGN) && view.channel() == Channel::Data
}
