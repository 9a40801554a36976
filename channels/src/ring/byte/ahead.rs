//! Messages that were read ahead of their release.

use deltawire_framing::FRAME_ALIGN;

/// A message that [`Consumer::read_ahead`](super::Consumer::read_ahead) has read and whose room
/// is kept until it is handed to [`Consumer::release`](super::Consumer::release).
///
/// Dropping it without release keeps the room for good, and all room behind it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its room is kept until it is released"]
pub struct Ahead {
    /// The frame's position in the ring.
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Ahead {
    /// Bytes of the frame, header and body.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a frame has a header, so it is never empty
    pub const fn len(&self) -> usize {
        self.len
    }
}

/// Which messages of a ring were read ahead and not released: one bit for every 16 bytes, set where
/// such a message starts. So any number is kept track of, with memory for as much of the ring as messages
/// were read ahead in.
pub(super) struct Outstanding {
    /// From the ring's start on. Where there are none yet no bit is set.
    words: Vec<u64>,
    /// How many bits are set.
    count: usize,
    /// Steps of 16 bytes in the ring, less 1; their number is a power of two.
    mask: usize,
}

/// Words that memory is taken for at first: for 32 KiB of the ring.
const FIRST_WORDS: usize = 32;

impl Outstanding {
    /// None yet, in a ring of `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        let steps = capacity / FRAME_ALIGN;
        debug_assert!(steps.is_power_of_two());
        Self { words: Vec::new(), count: 0, mask: steps - 1 }
    }

    /// Notes the message at position `start`.
    pub(super) fn insert(&mut self, start: usize) {
        let (index, bit) = self.place(start);
        let word = match self.words.get_mut(index) {
            Some(word) => word,
            None => self.grow_to(index),
        };
        debug_assert_eq!(*word & bit, 0, "a message is read ahead once");
        *word |= bit;
        self.count += 1;
    }

    /// Takes memory as far as the word at `index`, and so much that it seldom takes more.
    #[cold]
    fn grow_to(&mut self, index: usize) -> &mut u64 {
        let all = (self.mask + 1).div_ceil(64);
        let len = (index + 1).next_power_of_two().max(FIRST_WORDS).min(all);
        self.words.reserve_exact(len - self.words.len());
        self.words.resize(len, 0);
        &mut self.words[index]
    }

    /// Forgets the message at position `start`. Whether it was there.
    pub(super) fn remove(&mut self, start: usize) -> bool {
        let (index, bit) = self.place(start);
        let Some(word) = self.words.get_mut(index).filter(|word| **word & bit != 0) else {
            return false;
        };
        *word ^= bit;
        self.count -= 1;
        true
    }

    /// Position of the first message in `from..to`, at most the ring's capacity; `to` if there is
    /// none. Takes one look for every 1 KiB that it passes over.
    #[inline]
    pub(super) fn first(&self, from: usize, to: usize) -> usize {
        if self.count == 0 {
            return to;
        }
        self.search(from, to)
    }

    fn search(&self, from: usize, to: usize) -> usize {
        let steps = to.wrapping_sub(from) / FRAME_ALIGN;
        let mut passed = 0;
        while passed < steps {
            let step = (from / FRAME_ALIGN).wrapping_add(passed) & self.mask;
            let bit = step % 64;
            let rest = self.words.get(step / 64).map_or(0, |word| word >> bit);
            if rest != 0 {
                passed += rest.trailing_zeros() as usize;
                break;
            }
            // A ring of fewer than 64 steps comes round within its only word.
            passed += (64 - bit).min(self.mask + 1 - step);
        }
        from.wrapping_add(passed.min(steps) * FRAME_ALIGN)
    }

    /// The index of the word for position `start`, and the bit in it.
    fn place(&self, start: usize) -> (usize, u64) {
        let step = (start / FRAME_ALIGN) & self.mask;
        (step / 64, 1 << (step % 64))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn first_finds_the_oldest_across_words_and_the_end() {
        for capacity in [64, 1_024, 4_096] {
            let base = 0_usize.wrapping_sub(2 * capacity);
            for from in (0..capacity).step_by(16) {
                let from = base.wrapping_add(from);
                let to = from.wrapping_add(capacity);
                for distance in (0..capacity).step_by(16) {
                    let mut set = Outstanding::new(capacity);
                    assert_eq!(set.first(from, to), to);
                    let start = from.wrapping_add(distance);
                    set.insert(start);
                    assert_eq!(set.first(from, to), start);
                    assert_eq!(set.first(from, start), start);
                    assert!(set.remove(start));
                    assert!(!set.remove(start));
                    assert_eq!(set.first(from, to), to);
                }
            }
        }
    }
}
