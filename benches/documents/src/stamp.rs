//! What deltas of this bench carry, so that each receiver can check that it gets each once and in order.

use anyhow::{Context, ensure};

use crate::measure::now;

/// What a delta is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To see how many there can be.
    Flow,
    /// To see how long one takes.
    Paced,
    /// The last one.
    End,
}

/// Its number, from 0, and when it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) number: u64,
    pub(crate) phase: Phase,
    pub(crate) sent: u64,
}

/// What the rest of a delta is made of.
const FILL: u8 = 7;

/// The shortest payload.
const LEN: usize = 24;

impl Stamp {
    pub(crate) fn now(number: u64, phase: Phase) -> Self {
        Self { number, phase, sent: now() }
    }

    /// A payload with it.
    pub(crate) fn payload(self, len: usize) -> Vec<u8> {
        let mut payload = vec![FILL; len];
        self.write(&mut payload);
        payload
    }

    /// Writes it to the front of a payload.
    pub(crate) fn write(self, payload: &mut [u8]) {
        let fields = [self.number, self.phase as u64, self.sent];
        for (place, field) in payload.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
    }

    /// Reads it from a payload that has to be so long.
    pub(crate) fn read(payload: &[u8], len: usize) -> anyhow::Result<Self> {
        ensure!(payload.len() == len, "{} bytes came, not {len}", payload.len());
        ensure!(len == LEN || payload[len - 1] == FILL, "other bytes came than were sent");
        let mut fields = payload.chunks_exact(8).map(|field| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(field);
            u64::from_le_bytes(bytes)
        });
        let mut field = || fields.next().context("a payload without a stamp");
        let (number, phase, sent) = (field()?, field()?, field()?);
        let phase = match phase {
            0 => Phase::Flow,
            1 => Phase::Paced,
            _ => Phase::End,
        };
        Ok(Self { number, phase, sent })
    }
}

/// Sees that stamps come in order, each once.
#[derive(Debug, Default)]
pub(crate) struct Order {
    next: u64,
}

impl Order {
    pub(crate) fn check(&mut self, stamp: Stamp) -> anyhow::Result<()> {
        ensure!(stamp.number == self.next, "number {} came, not {}", stamp.number, self.next);
        self.next += 1;
        Ok(())
    }

    /// How many came.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back() {
        let stamp = Stamp::now(3, Phase::Paced);
        assert_eq!(Stamp::read(&stamp.payload(128), 128).unwrap(), stamp);
        assert!(Stamp::read(&stamp.payload(128), 64).is_err());
    }

    #[test]
    fn what_is_missing_or_comes_twice_is_noticed() {
        let mut order = Order::default();
        order.check(Stamp::now(0, Phase::Flow)).unwrap();
        assert!(order.check(Stamp::now(0, Phase::Flow)).is_err());
        assert!(order.check(Stamp::now(2, Phase::Flow)).is_err());
        order.check(Stamp::now(1, Phase::Flow)).unwrap();
        assert_eq!(order.count(), 2);
    }
}
