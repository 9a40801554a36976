use std::collections::VecDeque;

use bytes::Bytes;

use crate::format::STEP;
use crate::position::LogPosition;

/// Where the bytes of a batch are.
#[derive(Debug)]
pub(crate) enum Memory {
    /// Only in its segment, or nowhere.
    Gone,
    /// In a chunk, all of them.
    Chunk(Bytes),
    /// A long record that was adopted: header and security header, frame, zeros and table.
    Adopted(Box<[Bytes; 3]>),
    /// Read back from its segment.
    Thawed(Bytes),
}

/// What is known of a batch's bytes on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// They were written, or looked at, since the log was opened.
    Sound,
    /// Only an index tells of them.
    Never,
    /// They were found to be others than were written.
    Damaged,
}

/// Items that lie together, end together and are written together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) memory: Memory,
    /// Log position of the first item.
    pub(crate) first: LogPosition,
    /// Bytes of the whole.
    pub(crate) len: u32,
    /// The chunk that its memory is counted with.
    pub(crate) chunk: u64,
    /// The segment that it is in or for.
    pub(crate) segment: u64,
    /// Where, bytes from the segment's start.
    pub(crate) at: u64,
    /// Microseconds since the Unix epoch.
    pub(crate) written_at: u64,
    /// Records in it that a document still has.
    pub(crate) live: u32,
    /// Records in it.
    pub(crate) records: u32,
    pub(crate) check: Check,
}

impl Batch {
    pub(crate) fn is_damaged(&self) -> bool {
        self.check == Check::Damaged
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.memory, Memory::Gone)
    }

    /// The frame of the record at `offset` steps from the batch's start. `None` if the batch is not in memory.
    pub(crate) fn frame(&self, offset: u32, len: u32) -> Option<Bytes> {
        match &self.memory {
            Memory::Gone => None,
            Memory::Chunk(bytes) | Memory::Thawed(bytes) => {
                let start = offset as usize * STEP + STEP;
                let end = start + len as usize;
                (end <= bytes.len()).then(|| bytes.slice(start..end))
            }
            Memory::Adopted(parts) => {
                let [_, frame, _] = &**parts;
                Some(frame.clone())
            }
        }
    }
}

/// The batches of a log, oldest first, by numbers that count up for ever.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    base: u64,
    kept: VecDeque<Batch>,
}

impl Batches {
    /// The number of the oldest that is kept.
    pub(crate) fn start(&self) -> u64 {
        self.base
    }

    /// The number that the next one gets.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.kept.len() as u64
    }

    pub(crate) fn push(&mut self, batch: Batch) -> u64 {
        self.kept.push_back(batch);
        self.end() - 1
    }

    pub(crate) fn pop(&mut self) -> Option<Batch> {
        let batch = self.kept.pop_front()?;
        self.base += 1;
        Some(batch)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Batch> {
        self.kept.get(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Batch> {
        self.kept.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.kept.iter()
    }

    pub(crate) fn front(&self) -> Option<&Batch> {
        self.kept.front()
    }

    /// The whole number of which an entry has the low 32 bits. The batches that are kept, and the open one, span fewer
    /// than 2³²; a number below [`start`](Self::start) is of one that is gone.
    pub(crate) fn number_of(&self, low: u32) -> u64 {
        let ahead = low.wrapping_sub(self.base as u32) as i32;
        self.base.wrapping_add_signed(i64::from(ahead))
    }

    /// Bytes by which the list grows with the next batch.
    pub(crate) fn growth(&self) -> usize {
        if self.kept.len() == self.kept.capacity() { self.bytes() } else { 0 }
    }

    /// Bytes of memory of the list itself.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.capacity() * size_of::<Batch>()
    }
}
