use std::time::Duration;

use super::random::mix;

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    Lost,
    Overflowed,
    TooLong,
    Cut,
}

/// A hash of all that happens: times, lengths, fates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trace(u64);

impl Trace {
    pub(super) fn value(self) -> u64 {
        self.0
    }

    fn add(&mut self, word: u64) {
        self.0 = mix(self.0.rotate_left(7) ^ word).wrapping_add(word);
    }

    pub(super) fn parcel(&mut self, now: Duration, way: usize, len: usize, fate: Fate) {
        self.add(now.as_nanos() as u64);
        self.add((way as u64) << 40 | (len as u64) << 8 | fate as u64);
    }

    pub(super) fn link(&mut self, now: Duration, end: usize, what: &str) {
        self.add(now.as_nanos() as u64);
        self.add(end as u64);
        what.bytes().for_each(|byte| self.add(byte.into()));
    }
}
