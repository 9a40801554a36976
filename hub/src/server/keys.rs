//! Which deltas of a document are followed by a newer one of the same key, for readers that want only the newest of each.

use std::collections::VecDeque;

use deltawire_store::Position;
use hashbrown::HashMap;

/// The keys of a document's last deltas.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Of the first of `keys`.
    first: Position,
    /// Those of deltas that were not rejected.
    keys: VecDeque<Option<u64>>,
    /// Where each of them is newest.
    newest: HashMap<u64, Position>,
}

impl Keys {
    /// Takes in the key of the delta at `at`; remembers those of `most` deltas.
    pub(crate) fn push(&mut self, at: Position, key: u64, most: usize) {
        if at.0 != self.first.0 + self.keys.len() as u64 {
            // The document is another one.
            self.clear();
            self.first = at;
        }
        if self.keys.len() >= most.max(1)
            && let Some(oldest) = self.keys.pop_front()
        {
            if let Some(oldest) = oldest
                && self.newest.get(&oldest) == Some(&self.first)
            {
                self.newest.remove(&oldest);
            }
            self.first = self.first.next();
        }
        self.keys.push_back(Some(key));
        self.newest.insert(key, at);
    }

    /// Whether a newer delta in front of `end` has the key of this one. One whose key is not remembered is wanted.
    pub(crate) fn is_superseded(&self, at: Position, end: Position) -> bool {
        let key = self.index_of(at).and_then(|index| *self.keys.get(index)?);
        let newest = key.and_then(|key| self.newest.get(&key));
        newest.is_some_and(|newest| *newest > at && *newest < end)
    }

    /// The delta at `at` was rejected: the one before it of its key is the newest again.
    pub(crate) fn reject(&mut self, at: Position) {
        let Some(index) = self.index_of(at) else { return };
        let Some(key) = self.keys.get_mut(index).and_then(Option::take) else { return };
        if self.newest.get(&key) != Some(&at) {
            return;
        }
        match self.keys.iter().take(index).rposition(|of| *of == Some(key)) {
            Some(before) => self.newest.insert(key, Position(self.first.0 + before as u64)),
            None => self.newest.remove(&key),
        };
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn index_of(&self, at: Position) -> Option<usize> {
        usize::try_from(at.0.checked_sub(self.first.0)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_of_a_key_is_wanted_as_far_as_is_remembered() {
        let mut keys = Keys::default();
        for (at, key) in [(5, 1), (6, 2), (7, 1), (8, 3)] {
            keys.push(Position(at), key, 4);
        }
        let superseded = |keys: &Keys| -> Vec<u64> {
            (1..20).filter(|at| keys.is_superseded(Position(*at), Position(20))).collect()
        };
        assert_eq!(superseded(&keys), [5]);
        keys.push(Position(9), 2, 4);
        assert_eq!(superseded(&keys), [6]);
        keys.reject(Position(9));
        assert_eq!(superseded(&keys), [] as [u64; 0]);
        // One that is not the newest any more is not the newest again.
        let mut three = Keys::default();
        (1..=3).for_each(|at| three.push(Position(at), 7, 4));
        assert!(three.is_superseded(Position(2), Position(4)));
        assert!(!three.is_superseded(Position(2), Position(3)), "the newest is not to be seen yet");
        three.reject(Position(2));
        three.reject(Position(3));
        assert!(!three.is_superseded(Position(1), Position(4)));
        // Of another life of the document nothing is remembered.
        keys.push(Position(1), 2, 4);
        assert_eq!(superseded(&keys), [] as [u64; 0]);
    }
}
