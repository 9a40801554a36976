//! The board as its deltas make it: the same wherever the same deltas came in the same order.

use std::collections::BTreeMap;

use super::operation::{Operation, OperationId, Signed, Stroke};
use super::text::{Edit, apply};

/// A delta as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its position in the document.
    pub position: u64,
    /// Microseconds since the Unix epoch, as its writer says.
    pub time: u64,
    /// Its type.
    pub kind: u16,
    /// Its payload.
    pub payload: Box<[u8]>,
}

/// An operation in its place. A change of the text is here as it was applied, behind those that came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position in the document.
    pub position: u64,
    /// Microseconds since the Unix epoch, as its author says.
    pub time: u64,
    /// Whose it is, and what it does.
    pub signed: Signed,
}

/// One peer's copy of the board.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    log: Vec<Logged>,
    /// Those of the log that do something.
    entries: Vec<Entry>,
    /// Where an operation is in `entries`.
    places: BTreeMap<OperationId, usize>,
    /// By whose position an operation at this position was taken back.
    undone: BTreeMap<u64, u64>,
    /// Which of `entries` change the text.
    changes: Vec<usize>,
    text: Vec<u16>,
    digest: Digest,
}

impl Replica {
    /// Takes a delta in. Gives what it does; `None` if it does nothing, because it cannot be read, came before, or takes back
    /// what its author cannot.
    pub fn take(&mut self, logged: Logged) -> Option<&Entry> {
        if logged.position < self.next() {
            return None;
        }
        self.digest.add(&logged.kind.to_le_bytes());
        self.digest.add(&logged.payload);
        let entry = self.entry(&logged);
        self.log.push(logged);
        let entry = entry?;
        let index = self.entries.len();
        match &entry.signed.operation {
            Operation::Change(change) => {
                apply(&mut self.text, &change.edit);
                self.changes.push(index);
            }
            Operation::Undo { position, .. } => {
                self.undone.insert(*position, entry.position);
            }
            Operation::Stroke(_) | Operation::Clear => {}
        }
        self.places.insert(entry.signed.id, index);
        self.entries.push(entry);
        self.entries.last()
    }

    fn entry(&self, logged: &Logged) -> Option<Entry> {
        let mut signed = Signed::read(logged.kind, &logged.payload).ok()?;
        if self.has(signed.id) {
            return None;
        }
        match &mut signed.operation {
            Operation::Change(change) => {
                let behind = |index: &usize| {
                    self.entries.get(*index).is_none_or(|it| it.position <= change.base)
                };
                let seen = self.changes.partition_point(behind);
                let mut edit = change.edit.clone();
                for earlier in self.changes.iter().skip(seen).filter_map(|it| self.edit(*it)) {
                    edit = edit.over(earlier, true);
                }
                change.edit = edit.within(self.text.len());
            }
            Operation::Undo { position, number } => {
                let target = OperationId { author: signed.id.author, number: *number };
                let target = self.entries.get(*self.places.get(&target)?)?;
                let fits = target.position == *position && can_be_undone(&target.signed.operation);
                if !fits || self.undone.contains_key(position) {
                    return None;
                }
            }
            Operation::Stroke(_) | Operation::Clear => {}
        }
        Some(Entry { position: logged.position, time: logged.time, signed })
    }

    fn edit(&self, index: usize) -> Option<&Edit> {
        match &self.entries.get(index)?.signed.operation {
            Operation::Change(change) => Some(&change.edit),
            _ => None,
        }
    }

    /// Forgets everything from a position on. Gives it.
    pub fn truncate(&mut self, position: u64) -> Vec<Logged> {
        let mut log = std::mem::take(self).log;
        let lost = log.split_off(log.partition_point(|it| it.position < position));
        for logged in log {
            self.take(logged);
        }
        lost
    }

    /// The position behind the last delta.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.log.last().map_or(1, |it| it.position.saturating_add(1))
    }

    /// What happened, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether an operation is here.
    #[must_use]
    pub fn has(&self, id: OperationId) -> bool {
        self.places.contains_key(&id)
    }

    /// Whether the operation at a position was taken back.
    #[must_use]
    pub fn is_undone(&self, position: u64) -> bool {
        self.undone.contains_key(&position)
    }

    /// What an author can take back, oldest first.
    pub fn takeable(&self, author: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(move |it| {
            it.signed.id.author == author
                && can_be_undone(&it.signed.operation)
                && !self.is_undone(it.position)
        })
    }

    /// The strokes that are to be seen, in order.
    #[must_use]
    pub fn strokes(&self) -> Vec<&Stroke> {
        let mut strokes = Vec::new();
        for entry in self.entries.iter().filter(|it| !self.is_undone(it.position)) {
            match &entry.signed.operation {
                Operation::Stroke(stroke) => strokes.push(stroke),
                Operation::Clear => strokes.clear(),
                Operation::Change(_) | Operation::Undo { .. } => {}
            }
        }
        strokes
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf16_lossy(&self.text)
    }

    /// A number over all deltas in their order: two replicas have the same where they have the same deltas.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.0
    }
}

fn can_be_undone(operation: &Operation) -> bool {
    matches!(operation, Operation::Stroke(_) | Operation::Clear)
}

/// FNV-1a of 64 bits. It finds mistakes, and no malice.
#[derive(Clone, Copy, Debug)]
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.len().to_le_bytes().iter().take(4).chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
