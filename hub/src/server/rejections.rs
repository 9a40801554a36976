//! Which deltas of a document were rejected after readers may have had them.

use std::collections::VecDeque;

use deltawire_store::Position;

/// Rejections of which readers are told one by one. Whoever has missed more is told all that the document has.
const MAX_REMEMBERED: usize = 256;

/// A document's last rejections, for those that read it.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    last: VecDeque<Position>,
    /// How many there were, those included that are not remembered any more.
    count: u64,
}

/// What a reader has not been told yet.
pub(crate) enum Missed {
    /// These.
    Some(Vec<Position>),
    /// More than are remembered.
    Many,
}

impl Rejections {
    pub(crate) fn push(&mut self, at: Position) {
        if self.last.len() == MAX_REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(at);
        self.count += 1;
    }

    /// None of them is remembered: the document is another one.
    pub(crate) fn clear(&mut self) {
        self.last.clear();
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// What a reader that knows of the first `seen` of them has missed.
    pub(crate) fn since(&self, seen: u64) -> Missed {
        let missed = usize::try_from(self.count.saturating_sub(seen)).unwrap_or(usize::MAX);
        match self.last.len().checked_sub(missed) {
            Some(known) => Missed::Some(self.last.iter().skip(known).copied().collect()),
            None => Missed::Many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_missed_are_told_or_that_they_were_many() {
        let mut rejections = Rejections::default();
        for at in 1..=300 {
            rejections.push(Position(at));
        }
        assert_eq!(rejections.count(), 300);
        let told = |seen| match rejections.since(seen) {
            Missed::Some(missed) => Some(missed.iter().map(|at| at.0).collect::<Vec<_>>()),
            Missed::Many => None,
        };
        assert_eq!(told(300), Some(vec![]));
        assert_eq!(told(298), Some(vec![299, 300]));
        assert_eq!(told(44).map(|missed| missed.len()), Some(256));
        assert_eq!(told(43), None);
    }
}
