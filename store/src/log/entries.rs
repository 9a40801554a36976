use std::collections::VecDeque;

use deltawire_framing::StatusBits;

/// What the index has of a record: where it lies, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its batch's number, the low 32 bits.
    pub(crate) batch: u32,
    /// Where it begins, in steps of 64 bytes from the batch's start.
    pub(crate) offset: u32,
    /// Bytes of its frame.
    pub(crate) len: u32,
    status: u32,
}

const _: () = assert!(size_of::<Entry>() == 16);

impl Entry {
    pub(crate) fn new(batch: u32, offset: u32, len: u32, status: StatusBits) -> Self {
        Self { batch, offset, len, status: status.bits() }
    }

    pub(crate) fn status(&self) -> StatusBits {
        StatusBits::from_bits(self.status)
    }

    pub(crate) fn switch_on(&mut self, bits: StatusBits) {
        self.status |= bits.bits();
    }
}

/// Entries of a block.
const BLOCK: usize = 256;

/// The entries of a document, oldest first, in blocks: it grows without moving what is there, and shrinks from the front.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// All but the last have [`BLOCK`] entries.
    blocks: VecDeque<Vec<Entry>>,
    /// Entries of the first block that are gone; below [`BLOCK`].
    skip: usize,
    len: usize,
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Entry> {
        let index = index + self.skip;
        self.blocks.get(index / BLOCK)?.get(index % BLOCK)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Entry> {
        let index = index + self.skip;
        self.blocks.get_mut(index / BLOCK)?.get_mut(index % BLOCK)
    }

    pub(crate) fn front(&self) -> Option<&Entry> {
        self.get(0)
    }

    /// Returns by how many bytes its memory grew.
    pub(crate) fn push(&mut self, entry: Entry) -> usize {
        self.len += 1;
        if let Some(last) = self.blocks.back_mut()
            && last.len() < last.capacity()
        {
            last.push(entry);
            return 0;
        }
        let before = self.heap_bytes();
        match self.blocks.back_mut() {
            Some(last) if last.len() < BLOCK => {
                last.reserve_exact(last.len().min(BLOCK - last.len()));
                last.push(entry);
            }
            // A document with few records, as most are, has a small block.
            None => {
                let mut block = Vec::with_capacity(4);
                block.push(entry);
                self.blocks.push_back(block);
            }
            Some(_) => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(entry);
                self.blocks.push_back(block);
            }
        }
        self.heap_bytes() - before
    }

    /// Takes the oldest out, and says by how many bytes the memory shrank.
    pub(crate) fn pop(&mut self) -> Option<(Entry, usize)> {
        let entry = *self.front()?;
        self.len -= 1;
        self.skip += 1;
        let whole = self.blocks.front().is_some_and(|block| self.skip == block.len());
        // The last block stays while it can grow: a document that keeps one record needs no memory for the next.
        if whole && (self.skip == BLOCK || self.len == 0) {
            let before = self.heap_bytes();
            self.skip = 0;
            if self.blocks.len() > 1 {
                self.blocks.pop_front();
            } else if let Some(block) = self.blocks.front_mut() {
                block.clear();
            }
            return Some((entry, before - self.heap_bytes()));
        }
        Some((entry, 0))
    }

    /// Bytes that it has taken of the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let blocks = match self.blocks.len() {
            0 => 0,
            len => {
                let ends = self.blocks.front().map_or(0, Vec::capacity)
                    + if len > 1 { self.blocks.back().map_or(0, Vec::capacity) } else { 0 };
                (len.saturating_sub(2) * BLOCK + ends) * size_of::<Entry>()
            }
        };
        blocks + self.blocks.capacity() * size_of::<Vec<Entry>>()
    }

    /// The index of the first entry for which `before` does not hold; it holds for those in front. Costs time by how far that
    /// is from the end.
    pub(crate) fn end_of(&self, before: impl Fn(&Entry) -> bool) -> usize {
        let holds = |index| self.get(index).is_some_and(&before);
        let (mut high, mut step) = (self.len, 1);
        let mut low = loop {
            let Some(low) = high.checked_sub(step) else { break 0 };
            if holds(low) {
                break low + 1;
            }
            (high, step) = (low, step * 2);
        };
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32) -> Entry {
        Entry::new(number, 0, 0, StatusBits::NONE)
    }

    #[test]
    fn a_queue_of_any_length_keeps_its_order_and_counts_its_memory() {
        let mut entries = Entries::default();
        let mut heap = 0;
        let (mut pushed, mut popped) = (0, 0);
        // Grows and shrinks, over block borders and to nothing.
        for (push, pop) in [(3, 3), (1, 1), (700, 256), (100, 500), (300, 344), (5, 0)] {
            for _ in 0..push {
                heap += entries.push(entry(pushed));
                pushed += 1;
            }
            for _ in 0..pop {
                let (found, freed) = entries.pop().unwrap();
                assert_eq!(found, entry(popped));
                popped += 1;
                heap -= freed;
            }
            assert_eq!(entries.len(), (pushed - popped) as usize);
            assert_eq!(heap, entries.heap_bytes());
            for index in 0..entries.len() {
                assert_eq!(entries.get(index), Some(&entry(popped + index as u32)));
            }
            assert_eq!(entries.get(entries.len()), None);
            let middle = popped + (pushed - popped) / 2;
            for end in [popped, middle, pushed.max(1) - 1, pushed] {
                let found = entries.end_of(|entry| entry.batch < end);
                assert_eq!(found, end.saturating_sub(popped) as usize);
            }
        }
    }
}
