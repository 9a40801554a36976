//! What was read and is kept until it is acknowledged.

/// The part of a ring that was read and is not given back: it may have to be read again.
#[derive(Debug)]
pub(super) struct Kept {
    /// Position of the first frame that is kept: between the reader's head and what was read.
    pub(super) from: usize,
    /// Where the producer skipped the rest of the ring, if that was passed by since, and how many bytes
    /// that were. No more than one: what is kept is no longer than the ring.
    skipped: Option<(usize, usize)>,
}

impl Kept {
    /// Nothing yet: whatever is read from `from` on.
    pub(super) fn new(from: usize) -> Self {
        Self { from, skipped: None }
    }

    /// Notes that `len` bytes were skipped at `position`.
    pub(super) fn skip(&mut self, position: usize, len: usize) {
        if position == self.from {
            self.from = self.from.wrapping_add(len);
        } else {
            self.skipped = Some((position, len));
        }
    }

    /// Keeps no longer the first `len` bytes of frames and their gaps.
    pub(super) fn release(&mut self, len: usize) {
        let to_skip = self.skipped.map(|(at, skipped)| (at.wrapping_sub(self.from), skipped));
        self.from = self.from.wrapping_add(len);
        if let Some((_, skipped)) = to_skip.filter(|(before, _)| *before <= len) {
            self.from = self.from.wrapping_add(skipped);
            self.skipped = None;
        }
    }

    /// Goes back to the first frame that is kept, and gives its position.
    pub(super) fn begin_again(&mut self) -> usize {
        self.skipped = None;
        self.from
    }

    /// Bytes of frames and their gaps that are kept, of what was read up to `read`.
    pub(super) fn len(&self, read: usize) -> usize {
        let skipped = self.skipped.map_or(0, |(_, len)| len);
        read.wrapping_sub(self.from) - skipped
    }
}
