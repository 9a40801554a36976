//! The unfinished messages, by index and from the one that waits longest to the latest.
#![allow(clippy::indexing_slicing, reason = "indexes are this file's own, never a peer's")]

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use slab::Slab;

use super::Key;
use crate::error::{Expected, Field, Malformed};
use crate::frame::{Frame, FrameHeader};

/// One unfinished message.
pub(super) struct Slot<B> {
    pub(super) key: Key,
    /// The message's header as if it had not been cut.
    pub(super) whole: FrameHeader,
    pub(super) received: u16,
    pub(super) buffer: B,
    fragment_count: u16,
    /// Body bytes of every fragment but the last.
    fragment_len: usize,
    /// A bit for each fragment: whether it came.
    seen: Vec<u64>,
    last_progress: Duration,
    /// The slot in use whose last progress was just before this one's.
    older: Option<usize>,
    /// The one just after.
    newer: Option<usize>,
}

impl<B: AsMut<[u8]>> Slot<B> {
    /// Whether `frame` says the same of its message as the first fragment did.
    #[inline]
    pub(super) fn check_same_message(&self, frame: Frame<'_>) -> Result<(), Malformed> {
        let header = frame.header();
        let pairs = [
            (Field::Kind, header.kind() as u64, self.whole.kind() as u64),
            (Field::MessageLen, header.message_len().into(), self.whole.message_len().into()),
            (Field::FragmentCount, header.fragment_count().into(), self.fragment_count.into()),
            (Field::Length, frame.fragment_len() as u64, self.fragment_len as u64),
        ];
        match pairs.iter().find(|(_, value, first)| value != first) {
            None => Ok(()),
            Some((field, value, first)) => {
                Err(Malformed::new(*field, *value, Expected::Exactly(*first)))
            }
        }
    }

    /// Writes a fragment to its place, unless it is there; says whether it did.
    #[inline]
    pub(super) fn write(&mut self, frame: Frame<'_>) -> bool {
        let index = usize::from(frame.header().fragment_index());
        let bit = 1 << (index % 64);
        let Some(word) = self.seen.get_mut(index / 64).filter(|word| **word & bit == 0) else {
            return false;
        };
        let body = frame.body();
        let place = frame.body_offset()..frame.body_offset() + body.len();
        let Some(place) = self.buffer.as_mut().get_mut(place) else {
            return false;
        };
        place.copy_from_slice(body);
        *word |= bit;
        self.received += 1;
        true
    }

    pub(super) fn is_complete(&self) -> bool {
        self.received == self.fragment_count
    }
}

/// Bitmaps that are kept for the next messages, so that looking for one takes bounded time.
const MAX_SPARE: usize = 64;

/// The slots in use, which form a list in the order of their last progress.
pub(super) struct Slots<B> {
    slots: Slab<Slot<B>>,
    oldest: Option<usize>,
    newest: Option<usize>,
    /// Bitmaps of slots that ended, for the next ones: at most [`MAX_SPARE`].
    spare: Vec<Vec<u64>>,
}

impl<B> Slots<B> {
    pub(super) const fn new() -> Self {
        Self { slots: Slab::new(), oldest: None, newest: None, spare: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A slot for the message `whole`, of which `first` came first.
    pub(super) fn insert(
        &mut self,
        key: Key,
        whole: FrameHeader,
        first: Frame<'_>,
        buffer: B,
        now: Duration,
    ) -> usize {
        let fragment_count = first.header().fragment_count();
        let seen = self.bitmap(usize::from(fragment_count).div_ceil(64));
        let index = self.slots.insert(Slot {
            key,
            whole,
            received: 0,
            buffer,
            fragment_count,
            fragment_len: first.fragment_len(),
            seen,
            last_progress: now,
            older: None,
            newer: None,
        });
        self.link_newest(index);
        index
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut Slot<B> {
        &mut self.slots[index]
    }

    /// Notes progress of a message.
    #[inline]
    pub(super) fn touch(&mut self, index: usize, now: Duration) {
        self.slots[index].last_progress = now;
        if self.newest != Some(index) {
            self.unlink(index);
            self.link_newest(index);
        }
    }

    /// The slot that waits longest, and since when.
    pub(super) fn oldest(&self) -> Option<(usize, Duration)> {
        self.oldest.map(|index| (index, self.slots[index].last_progress))
    }

    /// Ends a message.
    pub(super) fn remove(&mut self, index: usize) -> Slot<B> {
        self.unlink(index);
        let mut slot = self.slots.remove(index);
        if self.spare.len() == MAX_SPARE {
            self.spare.remove(0);
        }
        self.spare.push(core::mem::take(&mut slot.seen));
        slot
    }

    /// A bitmap of `words` zeros that is not much too long: messages of few fragments must not
    /// hold the memory of those of many.
    fn bitmap(&mut self, words: usize) -> Vec<u64> {
        let fits = words..=2 * words;
        match self.spare.iter().rposition(|spare| fits.contains(&spare.capacity())) {
            Some(index) => {
                let mut bitmap = self.spare.swap_remove(index);
                bitmap.clear();
                bitmap.resize(words, 0);
                bitmap
            }
            None => vec![0; words],
        }
    }

    fn link_newest(&mut self, index: usize) {
        let older = self.newest.replace(index);
        self.slots[index].older = older;
        self.slots[index].newer = None;
        match older {
            Some(older) => self.slots[older].newer = Some(index),
            None => self.oldest = Some(index),
        }
    }

    fn unlink(&mut self, index: usize) {
        let (older, newer) = (self.slots[index].older, self.slots[index].newer);
        match older {
            Some(older) => self.slots[older].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.slots[newer].older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_does_not_hold_a_long_ones_bitmap() {
        let mut slots = Slots::<Vec<u8>>::new();
        slots.spare = vec![vec![7; 1_024], vec![7; 2], vec![7; 1_024]];
        let short = slots.bitmap(1);
        assert_eq!((short.capacity(), &short[..]), (2, &[0][..]));
        assert_eq!(slots.bitmap(1).capacity(), 1);
        assert_eq!(slots.bitmap(1_000), vec![0; 1_000]);
        assert_eq!(slots.spare.len(), 1);
    }
}
