use core::ops::Range;

use bytes::Bytes;
use deltawire_framing::{DocId, StatusBits};

use super::Log;
use super::document::Document;
use crate::position::{Epoch, Position};

/// What a log has of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The document's epoch.
    pub epoch: Epoch,
    /// The epoch before, if something may have been lost since the document was made. [`Log::until`] knows those before it too.
    pub previous: Option<Previous>,
    /// The oldest record that is kept; `next` if none is.
    pub first: Position,
    /// The first that cannot be read yet.
    pub next: Position,
    /// The one that the next append gets: `next`, unless a batch has begun.
    pub appended: Position,
    /// The first that is not durable yet, by the policy.
    pub durable: Position,
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// Bytes of the frames that are kept.
    pub bytes: u64,
    /// Records that are kept.
    pub records: u64,
}

/// An epoch that a document had, and how far it still means the same: whoever has read records of it, none of them at
/// `until` or behind, goes on with what follows; others have seen records that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The epoch.
    pub epoch: Epoch,
    /// The first position that may mean something else now.
    pub until: Position,
}

/// A record that stands for all up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is.
    pub at: Position,
    /// The last that it covers.
    pub covers: Position,
}

/// What reading a document gives.
#[derive(Clone, Debug)]
pub enum Read {
    /// Records, at least one position of them.
    Run(Run),
    /// Nothing yet: the reader has read all that there is.
    AtHead,
    /// What was asked for is not there any more: read on from [`Gap::to`].
    Gap(Gap),
    /// It is in a segment: give the request to [`Log::want`], and read again when it has been answered.
    Cold(ReadRequest),
    /// The document is not known.
    Unknown,
}

/// Records of one document, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The document's epoch.
    pub epoch: Epoch,
    /// The position that was asked for.
    pub first: Position,
    /// Where to read on.
    pub next: Position,
    /// The records from `first` on, without those that were rejected: their positions are left out.
    pub records: Vec<Stored>,
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the document.
    pub position: Position,
    /// The whole frame, as it is sent, at a multiple of 16 bytes: a slice of the batch, which keeps the chunk that it
    /// lies in for as long as it is kept.
    pub frame: Bytes,
    /// What came of it so far.
    pub status: StatusBits,
}

/// Records that are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where to read on.
    pub to: Position,
    /// Why they are not there.
    pub why: GapReason,
    /// How many there were, rejected ones included; 0 if that cannot be said.
    pub records: u64,
    /// Bytes of their frames; 0 if that is not known.
    pub bytes: u64,
}

/// What looking for a record gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is there.
    Found(Position),
    /// Not up to there: look on.
    On(Position),
}

/// Why records are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// Retention dropped them for their age or for want of room.
    Expired,
    /// A snapshot covers them.
    Snapshot,
    /// There never were such records in this epoch: the document was forgotten and made anew, or they were lost.
    Forgotten,
    /// Their bytes were found damaged when they were read back.
    Damaged,
}

/// Bytes of a segment that a reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadRequest {
    pub(super) batch: u64,
    pub(super) segment: u64,
    pub(super) at: u64,
    pub(super) len: u32,
}

impl ReadRequest {
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }
}

impl Log {
    /// Reads records of `doc` from `from` on, at most `max_bytes` of their frames, but at least one however long it is.
    /// A `from` of 0 reads from the beginning, as 1 does.
    #[must_use]
    pub fn read(&self, doc: &DocId, from: Position, max_bytes: usize) -> Read {
        let Some(document) = self.documents.by_id(doc) else { return Read::Unknown };
        let from = from.max(Position::FIRST);
        if from < document.first {
            let records = document.first.since(from);
            return Read::Gap(Gap { to: document.first, why: document.gone, records, bytes: 0 });
        }
        let next = document.next();
        if from == next {
            return Read::AtHead;
        }
        if from > next {
            let (to, why) = (document.first, GapReason::Forgotten);
            return Read::Gap(Gap { to, why, records: 0, bytes: 0 });
        }
        self.read_run(document, from, next, max_bytes)
    }

    fn read_run(&self, document: &Document, from: Position, end: Position, most: usize) -> Read {
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        // Records of one batch lie together, and the batch is looked up once.
        let mut at_hand = None;
        while next < end {
            let Some(entry) = document.entry(next) else { break };
            let len = entry.len as usize;
            if !entry.status().contains(StatusBits::REJECTED) {
                if !records.is_empty() && bytes + len > most {
                    break;
                }
                let batch = match at_hand {
                    Some((low, batch)) if low == entry.batch => batch,
                    _ => {
                        let number = self.batches.number_of(entry.batch);
                        let Some(batch) = self.batches.get(number) else { break };
                        at_hand = Some((entry.batch, batch));
                        batch
                    }
                };
                let Some(frame) = batch.frame(entry.offset, entry.len) else {
                    if next > from {
                        break;
                    }
                    let number = self.batches.number_of(entry.batch);
                    if batch.is_damaged() {
                        return self.damaged_gap(document, from, end);
                    }
                    return Read::Cold(self.request(number, most));
                };
                bytes += len;
                records.push(Stored { position: next, frame, status: entry.status() });
            }
            next = next.next();
        }
        Read::Run(Run { epoch: document.epoch, first: from, next, records })
    }

    /// The oldest position of `within` from which at most `max_bytes` of frames and `max_records` records follow up to its end,
    /// rejected ones not counted; that of the newest of them at least. `None` if the document is not known. Costs time by how many follow.
    #[must_use]
    pub fn oldest_within(
        &self,
        doc: &DocId,
        within: Range<Position>,
        max_bytes: u64,
        max_records: u64,
    ) -> Option<Position> {
        let document = self.documents.by_id(doc)?;
        let start = within.start.max(document.first);
        let (mut at, mut bytes, mut records) = (within.end.min(document.next()), 0_u64, 0_u64);
        while let Some(previous) = at.previous().filter(|previous| *previous >= start) {
            let Some(entry) = document.entry(previous) else { break };
            if entry.status().contains(StatusBits::REJECTED) {
                at = previous;
                continue;
            }
            (bytes, records) = (bytes + u64::from(entry.len), records + 1);
            if records > 1 && (bytes > max_bytes || records > max_records) {
                break;
            }
            at = previous;
        }
        Some(at)
    }

    /// The first record of `within` that was rejected, or where to look on: at most `most` records are looked at. `None`
    /// if there is none.
    #[must_use]
    pub fn rejected_within(
        &self,
        doc: &DocId,
        within: Range<Position>,
        most: usize,
    ) -> Option<Look> {
        let document = self.documents.by_id(doc).filter(|document| document.rejected)?;
        let mut at = within.start.max(document.first);
        let end = within.end.min(document.next());
        for _ in 0..most {
            let entry = document.entry(at).filter(|_| at < end)?;
            if entry.status().contains(StatusBits::REJECTED) {
                return Some(Look::Found(at));
            }
            at = at.next();
        }
        Some(Look::On(at))
    }

    /// The first position that may mean something else than it did in `epoch`, one of the last eight that the document had before the
    /// one that it has; `None` if it is not known that it had it. Whoever read in it, nothing at that position or behind, goes on with
    /// what follows.
    #[must_use]
    pub fn until(&self, doc: &DocId, epoch: Epoch) -> Option<Position> {
        let known = self.documents.by_id(doc)?.previous.iter().rev().find(|it| it.epoch == epoch);
        known.map(|known| known.until)
    }

    /// Whether the record of `doc` at `at` is durable, by the policy; one that was dropped, for there being too many, may not be yet. `None` if
    /// the document is not known.
    #[must_use]
    pub fn is_durable(&self, doc: &DocId, at: Position) -> Option<bool> {
        let document = self.documents.by_id(doc)?;
        let durable = self.durable_batch();
        let batch = match document.entry(at) {
            Some(entry) => Some(self.batches.number_of(entry.batch)),
            None if at >= document.first => return Some(false),
            // The last that went is not in front of it.
            None => document.dropped,
        };
        Some(batch.is_none_or(|batch| batch < durable))
    }

    /// What there is of `doc`; `None` if it is not known.
    #[must_use]
    pub fn head(&self, doc: &DocId) -> Option<Head> {
        let document = self.documents.by_id(doc)?;
        let durable = match self.disk {
            // What is readable is all that will ever be.
            None => document.entries.len(),
            Some(_) => {
                let durable = self.durable_batch();
                document.entries.end_of(|entry| self.batches.number_of(entry.batch) < durable)
            }
        };
        let next = document.next();
        Some(Head {
            epoch: document.epoch,
            previous: document.previous.last().copied(),
            first: document.first,
            next,
            appended: document.appended(),
            durable: Position(document.first.0 + durable as u64).min(next),
            snapshot: document
                .snapshot
                .map(|snapshot| Snapshot { at: snapshot.at, covers: snapshot.covers }),
            bytes: document.bytes,
            records: document.entries.len() as u64,
        })
    }
}
