//! A text that many edit: edits, and what becomes of one when others come before it.

/// The longest text, in UTF-16 code units: what goes beyond is not inserted.
pub const MAX_TEXT: usize = 100_000;

/// A part of a text replaced by another. In UTF-16 code units, as browsers count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub at: u32,
    /// How much goes.
    pub delete: u32,
    /// What comes.
    pub insert: Vec<u16>,
}

impl Edit {
    fn end(&self) -> u32 {
        self.at.saturating_add(self.delete)
    }

    fn inserted(&self) -> u32 {
        u32::try_from(self.insert.len()).unwrap_or(u32::MAX)
    }

    /// The same edit once `earlier`, which was made to the same text, is in it. Where both insert at one place, this one comes
    /// behind if it is the later one.
    #[must_use]
    pub fn over(&self, earlier: &Self, later: bool) -> Self {
        let moved =
            |place: u32| place.saturating_sub(earlier.delete).saturating_add(earlier.inserted());
        let behind = earlier.at.saturating_add(earlier.inserted());
        let start = if self.at < earlier.at || (self.at == earlier.at && !later) {
            self.at
        } else if self.at < earlier.end() || self.at == earlier.at {
            behind
        } else {
            moved(self.at)
        };
        let end = if self.end() <= earlier.at {
            self.end()
        } else if self.end() <= earlier.end() {
            earlier.at
        } else {
            moved(self.end())
        };
        // What was inserted where this one deletes nothing before stays.
        Self { at: start, delete: end.saturating_sub(start), insert: self.insert.clone() }
    }

    /// The same within a text of so many units.
    #[must_use]
    pub fn within(mut self, len: usize) -> Self {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.at = self.at.min(len);
        self.delete = self.delete.min(len - self.at);
        let room = MAX_TEXT.saturating_sub((len - self.delete) as usize);
        self.insert.truncate(room);
        self
    }
}

/// Applies an edit, as far as it lies within the text.
pub fn apply(text: &mut Vec<u16>, edit: &Edit) {
    let Edit { at, delete, insert } = edit.clone().within(text.len());
    let range = at as usize..(at + delete) as usize;
    text.splice(range, insert);
}

/// The smallest edit that makes one text of another, if they differ.
#[must_use]
pub fn difference(from: &[u16], to: &[u16]) -> Option<Edit> {
    let same = |(a, b): &(&u16, &u16)| a == b;
    let mut before = from.iter().zip(to).take_while(same).count();
    let is_half = |text: &[u16], index: usize| {
        text.get(index).is_some_and(|unit| (0xDC00..0xE000).contains(unit))
    };
    // A character is not cut in two.
    while before > 0 && (is_half(from, before) || is_half(to, before)) {
        before -= 1;
    }
    let (from, to) = (from.get(before..)?, to.get(before..)?);
    let mut behind = from.iter().rev().zip(to.iter().rev()).take_while(same).count();
    while behind > 0 && (is_half(from, from.len() - behind) || is_half(to, to.len() - behind)) {
        behind -= 1;
    }
    let (delete, insert) = (from.len() - behind, to.get(..to.len() - behind)?.to_vec());
    let edit =
        Edit { at: u32::try_from(before).ok()?, delete: u32::try_from(delete).ok()?, insert };
    (edit.delete > 0 || !edit.insert.is_empty()).then_some(edit)
}
