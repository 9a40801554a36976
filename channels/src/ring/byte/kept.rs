//! What was read and is kept until it is acknowledged.

use std::collections::VecDeque;

/// Bytes between ends of runs that are remembered: few are enough, as what is acknowledged mostly ends with a run.
const MARK_EACH: usize = 4 << 10;

/// The part of a ring that was read and is not given back: it may have to be read again.
#[derive(Debug)]
pub(super) struct Kept {
    /// Position of the first frame that is kept: between the reader's head and what was read.
    pub(super) from: usize,
    /// Where the producer skipped the rest of the ring, if that was passed by since, and how many bytes
    /// that were. No more than one: what is kept is no longer than the ring.
    skipped: Option<(usize, usize)>,
    /// Where frames begin, oldest first: so that no more of them are looked at than lie behind the last of these.
    marks: VecDeque<usize>,
}

impl Kept {
    /// Nothing yet: whatever is read from `from` on.
    pub(super) fn new(from: usize) -> Self {
        Self { from, skipped: None, marks: VecDeque::new() }
    }

    /// Notes that `len` bytes were skipped at `position`.
    pub(super) fn skip(&mut self, position: usize, len: usize) {
        if position == self.from {
            // Nothing is kept.
            self.go_to(position.wrapping_add(len));
        } else {
            self.skipped = Some((position, len));
        }
    }

    /// Notes that a frame begins at `position`, up to which was read.
    #[inline]
    pub(super) fn mark(&mut self, position: usize) {
        let last = self.marks.back().copied().unwrap_or(self.from);
        if position.wrapping_sub(last) >= MARK_EACH {
            self.marks.push_back(position);
        }
    }

    /// Where a frame begins that is no more than `len` bytes of frames and their gaps behind the first that is kept, and what is
    /// left of `len` there.
    pub(super) fn before(&self, len: usize) -> (usize, usize) {
        let count = self.marks.partition_point(|mark| self.frames_before(*mark) <= len);
        match count.checked_sub(1).and_then(|at| self.marks.get(at)) {
            Some(mark) => (*mark, len - self.frames_before(*mark)),
            None => (self.from, len),
        }
    }

    /// Bytes of frames and their gaps that are kept and lie before `position`.
    fn frames_before(&self, position: usize) -> usize {
        let before = position.wrapping_sub(self.from);
        let skipped = self.skipped.filter(|(at, _)| at.wrapping_sub(self.from) < before);
        before - skipped.map_or(0, |(_, len)| len)
    }

    /// Keeps no longer the first `len` bytes of frames and their gaps.
    pub(super) fn release(&mut self, len: usize) {
        let to_skip = self.skipped.map(|(at, skipped)| (at.wrapping_sub(self.from), skipped));
        self.from = self.from.wrapping_add(len);
        if let Some((_, skipped)) = to_skip.filter(|(before, _)| *before <= len) {
            self.from = self.from.wrapping_add(skipped);
            self.skipped = None;
        }
        // One that lies before what is kept now is further behind it, as numbers wrap, than anything that is.
        let is_passed =
            |mark: &usize| mark.wrapping_sub(self.from).wrapping_sub(1) > usize::MAX / 2;
        while self.marks.front().is_some_and(is_passed) {
            self.marks.pop_front();
        }
    }

    /// Goes back to the first frame that is kept, and gives its position.
    pub(super) fn begin_again(&mut self) -> usize {
        self.skipped = None;
        self.marks.clear();
        self.from
    }

    /// Everything was given back, and goes on at `position`.
    pub(super) fn go_to(&mut self, position: usize) {
        self.marks.clear();
        self.from = position;
    }

    /// Bytes of frames and their gaps that are kept, of what was read up to `read`.
    pub(super) fn len(&self, read: usize) -> usize {
        let skipped = self.skipped.map_or(0, |(_, len)| len);
        read.wrapping_sub(self.from) - skipped
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_looked_at_from_the_last_mark_on() {
        // Near the end of what a position can be, and over a part that was skipped.
        let start = usize::MAX - 10_000;
        let mut kept = Kept::new(start);
        let at = |position: usize| start.wrapping_add(position);
        for position in [64, 5_000, 6_000, 10_000] {
            kept.mark(at(position));
        }
        kept.skip(at(12_000), 500);
        kept.mark(at(16_500));
        assert_eq!(kept.marks, [at(5_000), at(10_000), at(16_500)]);
        assert_eq!(kept.before(4_999), (start, 4_999));
        assert_eq!(kept.before(5_000), (at(5_000), 0));
        assert_eq!(kept.before(12_000), (at(10_000), 2_000));
        assert_eq!(kept.before(15_999), (at(10_000), 5_999));
        assert_eq!(kept.before(16_100), (at(16_500), 100));
        kept.release(10_000);
        assert_eq!((kept.from, kept.before(100)), (at(10_000), (at(10_000), 100)));
        kept.release(2_000);
        assert_eq!(kept.from, at(12_500));
        assert_eq!(kept.before(4_100), (at(16_500), 100));
        kept.release(4_100);
        assert_eq!((kept.from, kept.marks.len()), (at(16_600), 0));
    }
}
