//! Memory that records are written to: one chunk at a time, from which each batch is split off when it ends.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use deltawire_framing::Frame;
use zerocopy::IntoBytes;

use crate::format::{BatchHeader, Item, Note, STEP, TableEntry};

/// Spent chunks that are kept for being used again, once nobody holds on to them. More would only be searched.
const MAX_SPENT: usize = 8;

/// Where `frame`'s channel is written; stored frames are all of the data channel.
const CHANNEL_AT: usize = 2;

/// The chunk that is written to.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// The batch that is being written, from its header on; the chunk's free rest is its capacity.
    batch: BytesMut,
    /// The batch's table: goes behind the items when it ends.
    table: Vec<u8>,
    items: u32,
    records: u32,
}

impl Open {
    pub(crate) fn items(&self) -> u32 {
        self.items
    }

    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// Bytes that the batch would have if it ended now; 0 without items.
    pub(crate) fn len(&self) -> usize {
        if self.items == 0 { 0 } else { self.batch.len() + self.table.len().next_multiple_of(STEP) }
    }

    /// Whether an item of so many bytes has room, with its entry of the table.
    pub(crate) fn has_room(&self, item_len: usize) -> bool {
        let table = (self.table.len() + TableEntry::SIZE).next_multiple_of(STEP);
        let start = self.batch.len().max(BatchHeader::SIZE);
        start + item_len.next_multiple_of(STEP) + table <= self.batch.capacity()
    }

    /// Bytes that a chunk has to have for a single item of so many bytes.
    pub(crate) fn chunk_for(item_len: usize) -> usize {
        BatchHeader::SIZE + item_len.next_multiple_of(STEP) + STEP
    }

    /// Goes on in another chunk. Between batches only.
    pub(crate) fn replace_chunk(&mut self, chunk: BytesMut) -> BytesMut {
        debug_assert!(self.items == 0, "a batch lies in one chunk");
        std::mem::replace(&mut self.batch, chunk)
    }

    fn begin(&mut self) -> u32 {
        if self.batch.is_empty() {
            self.batch.resize(BatchHeader::SIZE, 0);
        }
        (self.batch.len() / STEP) as u32
    }

    fn pad(&mut self) {
        self.batch.resize(self.batch.len().next_multiple_of(STEP), 0);
    }

    /// Copies a record's frame behind the last item; returns where it lies, in steps.
    pub(crate) fn push_frame(&mut self, frame: Frame<'_>) -> u32 {
        let offset = self.begin();
        self.batch.extend_from_slice(&[0; STEP]);
        let frame_at = self.batch.len();
        self.batch.extend_from_slice(frame.as_bytes());
        if let Some(channel) = self.batch.get_mut(frame_at + CHANNEL_AT) {
            *channel = deltawire_framing::Channel::Data as u8;
        }
        self.pad();
        offset
    }

    /// Room for a frame of so many bytes behind the last item, zeroed.
    pub(crate) fn push_room(&mut self, frame_len: usize) -> u32 {
        let offset = self.begin();
        self.batch.resize(self.batch.len() + (STEP + frame_len).next_multiple_of(STEP), 0);
        offset
    }

    /// The frame's room of the item that was pushed last, at `offset` steps.
    pub(crate) fn room_mut(&mut self, offset: u32, frame_len: usize) -> &mut [u8] {
        let start = offset as usize * STEP + STEP;
        self.batch.get_mut(start..start + frame_len).unwrap_or_default()
    }

    /// Takes back what was pushed at `offset` and has no entry in the table yet.
    pub(crate) fn roll_back(&mut self, offset: u32) {
        let len = if self.items == 0 { 0 } else { offset as usize * STEP };
        self.batch.truncate(len);
    }

    pub(crate) fn push_note(&mut self, note: &Note) -> u32 {
        let offset = self.begin();
        self.batch.extend_from_slice(note.as_bytes());
        offset
    }

    /// Enters what was pushed last into the table.
    pub(crate) fn enter(&mut self, item: Item, is_record: bool) {
        self.table.extend_from_slice(TableEntry::new(item).as_bytes());
        self.items += 1;
        self.records += u32::from(is_record);
    }

    /// A record of the batch went before the batch ended.
    pub(crate) fn drop_record(&mut self) {
        self.records = self.records.saturating_sub(1);
    }

    /// Ends the batch: `seal` writes the header, given where the table begins and the bytes behind the header.
    pub(crate) fn end(&mut self, seal: impl FnOnce(u32, &[u8]) -> BatchHeader) -> Bytes {
        let table = self.batch.len() as u32;
        self.batch.extend_from_slice(&self.table);
        self.pad();
        if let Some((header, body)) = self.batch.split_at_mut_checked(BatchHeader::SIZE) {
            header.copy_from_slice(seal(table, body).as_bytes());
        }
        self.table.clear();
        self.items = 0;
        self.records = 0;
        let len = self.batch.len();
        self.batch.split_to(len).freeze()
    }
}

/// A chunk that holds batches, or the open one.
#[derive(Debug)]
struct Used {
    /// Bytes; 0 if it is not in use any more.
    len: usize,
    /// Batches in it that are in memory.
    batches: u32,
    /// What is left of it once it is full: a handle, by which its memory comes back. `None` for memory of others.
    rest: Option<BytesMut>,
}

/// Chunks: how many bytes of them are in use, and those that can be used again.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// The number of the first in `used`.
    base: u64,
    used: VecDeque<Used>,
    /// The number of the one that is written to.
    open: u64,
    /// Handles of chunks that are not in use any more, by which their memory comes back.
    spent: VecDeque<BytesMut>,
    /// Bytes of the chunks in use.
    bytes: usize,
}

impl Chunks {
    pub(crate) fn new() -> Self {
        Self { base: 0, used: VecDeque::new(), open: u64::MAX, spent: VecDeque::new(), bytes: 0 }
    }

    /// Bytes of the chunks that hold batches, and of the open one.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the one that is written to.
    pub(crate) fn open(&self) -> u64 {
        self.open
    }

    /// Memory of `len` bytes at a multiple of 64: that of a chunk that nobody uses any more, or else new.
    pub(crate) fn take(&mut self, len: usize) -> BytesMut {
        for _ in 0..self.spent.len() {
            let Some(mut chunk) = self.spent.pop_front() else { break };
            if chunk.try_reclaim(len + STEP) {
                return aligned(chunk, len);
            }
            self.spent.push_back(chunk);
        }
        aligned(BytesMut::with_capacity(len + STEP), len)
    }

    /// Counts another chunk, which is written to from now on. `full` is what is left of the one before.
    pub(crate) fn begin_open(&mut self, len: usize, full: BytesMut) {
        let before = std::mem::replace(&mut self.open, self.base + self.used.len() as u64);
        if let Some(used) = self.get_mut(before) {
            used.rest = Some(full);
        }
        self.used.push_back(Used { len, batches: 0, rest: None });
        self.bytes += len;
        self.release_if_empty(before);
    }

    /// Counts memory that came from elsewhere, for a batch that is held already.
    pub(crate) fn begin_own(&mut self, len: usize) -> u64 {
        self.used.push_back(Used { len, batches: 1, rest: None });
        self.bytes += len;
        self.base + self.used.len() as u64 - 1
    }

    /// A batch of chunk `number` is in memory.
    pub(crate) fn hold(&mut self, number: u64) {
        if let Some(used) = self.get_mut(number) {
            used.batches += 1;
        }
    }

    /// A batch of chunk `number` is in memory no longer.
    pub(crate) fn release(&mut self, number: u64) {
        if let Some(used) = self.get_mut(number) {
            used.batches = used.batches.saturating_sub(1);
        }
        self.release_if_empty(number);
    }

    fn release_if_empty(&mut self, number: u64) {
        if number == self.open {
            return;
        }
        if let Some(used) = self.get_mut(number)
            && used.batches == 0
        {
            let (len, rest) = (std::mem::take(&mut used.len), used.rest.take());
            self.bytes -= len;
            self.spent.extend(rest);
            if self.spent.len() > MAX_SPENT {
                self.spent.pop_front();
            }
        }
        while self.base != self.open && self.used.front().is_some_and(|used| used.len == 0) {
            self.used.pop_front();
            self.base += 1;
        }
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Used> {
        self.used.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }
}

fn aligned(mut chunk: BytesMut, len: usize) -> BytesMut {
    chunk.clear();
    let gap = chunk.spare_capacity_mut().as_ptr().align_offset(STEP);
    if gap < STEP {
        chunk.resize(gap, 0);
        let _ = chunk.split_to(gap);
    }
    // No more than was asked for: a batch is never longer than a chunk.
    debug_assert!(chunk.capacity() >= len);
    chunk
}
