//! Which pieces of a file are there.

/// A set of pieces, a bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    words: Vec<u64>,
    len: u32,
    count: u32,
}

impl Pieces {
    /// None of `len` pieces.
    #[must_use]
    pub fn none(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len, count: 0 }
    }

    /// How many are in it.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether all are in it.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether this one is in it.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        let word = self.words.get(index as usize / 64).copied().unwrap_or_default();
        word >> (index % 64) & 1 == 1
    }

    /// Puts one in. `false` if it was there, or there is no such piece.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= self.len || self.contains(index) {
            return false;
        }
        if let Some(word) = self.words.get_mut(index as usize / 64) {
            *word |= 1 << (index % 64);
        }
        self.count += 1;
        true
    }

    /// The first from `from` on that is not in it.
    #[must_use]
    pub fn next_missing(&self, from: u32) -> Option<u32> {
        let mut index = from;
        while index < self.len {
            let word = self.words.get(index as usize / 64).copied().unwrap_or_default();
            let free = (!word >> (index % 64)).trailing_zeros();
            if free < 64 - index % 64 {
                index += free;
                return (index < self.len).then_some(index);
            }
            index = (index / 64 + 1) * 64;
        }
        None
    }

    /// Its bits, eight pieces a byte, the first in the lowest bit.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        bytes.take(self.len.div_ceil(8) as usize).collect()
    }

    /// The set of these bits; `None` if they are not those of `len` pieces.
    #[must_use]
    pub fn of_bytes(bytes: &[u8], len: u32) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        let mut words = Vec::with_capacity(bytes.len().div_ceil(8));
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.get_mut(..chunk.len())?.copy_from_slice(chunk);
            words.push(u64::from_le_bytes(word));
        }
        let behind =
            words.last().is_some_and(|last| !len.is_multiple_of(64) && last >> (len % 64) != 0);
        let count = words.iter().map(|word| word.count_ones()).sum();
        (!behind).then_some(Self { words, len, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_what_is_missing() {
        for len in [0, 1, 63, 64, 65, 200] {
            let mut pieces = Pieces::none(len);
            let mut random = fastrand::Rng::with_seed(len.into());
            let mut order: Vec<u32> = (0..len).collect();
            random.shuffle(&mut order);
            for (done, index) in order.iter().enumerate() {
                let missing: Vec<u32> = {
                    let next = |at: &u32| pieces.next_missing(at + 1);
                    std::iter::successors(pieces.next_missing(0), next).collect()
                };
                let mut expected = order[done..].to_vec();
                expected.sort_unstable();
                assert_eq!(missing, expected);
                assert_eq!(Pieces::of_bytes(&pieces.to_bytes(), len), Some(pieces.clone()));
                assert!(pieces.insert(*index) && !pieces.insert(*index));
                assert_eq!(pieces.is_full(), done + 1 == order.len());
            }
            assert!(pieces.is_full() && !pieces.insert(len) && pieces.next_missing(0).is_none());
        }
        assert_eq!(Pieces::of_bytes(&[0xff], 7), None, "a piece that is not there");
        assert_eq!(Pieces::of_bytes(&[0; 2], 7), None);
    }
}
