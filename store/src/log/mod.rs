//! The log: chunks, batches, an index by document, retention. No I/O, no clock.

mod appending;
mod batch;
mod chunk;
mod compacting;
mod disk;
mod document;
mod entries;
mod flushing;
mod grant;
mod io;
mod notes;
mod opening;
mod reading;
mod retention;
mod retiring;
mod sealed;
mod segments;
mod stats;
mod thawing;
mod times;

use deltawire_framing::DocId;

pub use appending::Appended;
pub use document::Written;
pub use grant::Grant;
pub use io::{Io, IoDone, IoError, IoToken};
pub use reading::{Gap, GapReason, Head, Look, Previous, Read, ReadRequest, Run, Snapshot, Stored};
pub use sealed::SealedSegment;
pub use stats::LogStats;

use crate::error::Broken;
use crate::options::{Durability, LogOptions};
use crate::position::{Epoch, LogPosition, Now, Origin};
pub(crate) use batch::{Batch, Batches, Check, Memory};
use chunk::{Chunks, Open};
use disk::Disk;
pub(crate) use disk::{IndexState, Segment, SegmentState};
pub(crate) use document::{Document, Documents, KeptSnapshot, Protected};
pub(crate) use entries::Entry;
use times::Times;

/// The part of the index that writers may have which are remembered for their time only.
const PART_FOR_WRITERS: usize = 8;

/// The deltas of any number of documents, in the order in which they came. One thread owns it; what is read of it goes
/// to any thread.
///
/// Call [`end_batch`](Self::end_batch) whenever there is no more to append for now: nothing is readable, written or
/// durable before. Without files that is all. With files, do what [`poll_io`](Self::poll_io) says until it says nothing,
/// after each `end_batch`, after each [`handle_io`](Self::handle_io) and at [`poll_timeout`](Self::poll_timeout); and
/// call [`retain`](Self::retain) every few seconds.
#[derive(Debug)]
pub struct Log {
    options: LogOptions,
    /// Of documents that are made from now on.
    epoch: Epoch,
    documents: Documents,
    batches: Batches,
    chunks: Chunks,
    open: Open,
    /// Of the next item.
    next: LogPosition,
    /// The number of the first batch that cannot be read yet.
    readable: u64,
    /// Documents with entries that cannot be read yet.
    touched: Vec<u32>,
    /// Documents with a snapshot of which retention has not made use yet.
    snapshots: Vec<u32>,
    /// The greatest wall time that was told.
    wall: u64,
    /// Whose writers are remembered.
    times: Times,
    broken: Option<Broken>,
    /// Without it, the log is in memory only.
    disk: Option<Disk>,
    counters: LogStats,
}

impl Log {
    /// An empty log in memory only, whatever `options.durability` says. Documents that are made in it have `epoch`:
    /// something that no log before it had, such as a random number.
    ///
    /// # Panics
    /// If the options are out of range: ask [`LogOptions::check`] before.
    #[must_use]
    pub fn new(options: LogOptions, epoch: Epoch) -> Self {
        if let Err(bad) = options.check() {
            panic!("{bad}");
        }
        let options = LogOptions { durability: Durability::Memory, ..options };
        Self {
            options,
            epoch,
            documents: Documents::default(),
            batches: Batches::default(),
            chunks: Chunks::new(),
            open: Open::default(),
            next: LogPosition(0),
            readable: 0,
            touched: Vec::new(),
            snapshots: Vec::new(),
            wall: 0,
            times: Times::default(),
            broken: None,
            disk: None,
            counters: LogStats::default(),
        }
    }

    /// Makes what was appended since the last call readable, and, with files, ready to be written. Returns the position
    /// behind it: all of it is durable once [`durable`](Self::durable) is as far. `None` if nothing was appended.
    pub fn end_batch(&mut self, now: Now) -> Option<LogPosition> {
        self.close_batch(now);
        if self.readable == self.batches.end() {
            return None;
        }
        let from = std::mem::replace(&mut self.readable, self.batches.end());
        if self.disk.is_some() {
            let len = |number| self.batches.get(number).map_or(0, |batch| batch.len as usize);
            let waiting = (from..self.readable).map(len).sum();
            self.ready(now, waiting);
        }
        for number in self.touched.drain(..) {
            if let Some(document) = self.documents.get_mut(number) {
                document.pending = 0;
            }
        }
        Some(self.next)
    }

    /// The position that the next item gets.
    #[must_use]
    pub fn next(&self) -> LogPosition {
        self.next
    }

    /// All below it survive what [`LogOptions::durability`] says.
    #[must_use]
    pub fn durable(&self) -> LogPosition {
        self.batches.get(self.durable_batch()).map_or(self.closed(), |batch| batch.first)
    }

    /// The position behind all that was appended, notes included.
    #[must_use]
    pub const fn end(&self) -> LogPosition {
        self.next
    }

    /// What `origin` wrote last to `doc`, if it is remembered ([`LogOptions::max_writers`]); also after the record
    /// was dropped, and after the log was opened again.
    #[must_use]
    pub fn last_of(&self, doc: &DocId, origin: &Origin) -> Option<Written> {
        self.documents.by_id(doc)?.last_of(origin).map(|writer| writer.written)
    }

    /// The documents that are known, with records or without, in no order.
    pub fn documents(&self) -> impl Iterator<Item = &DocId> {
        self.documents.ids()
    }

    /// Why nothing is written any more; `None` while all is well.
    #[must_use]
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// The position behind the last batch that has ended.
    fn closed(&self) -> LogPosition {
        LogPosition(self.next.0 - u64::from(self.open.items()))
    }

    /// The number of the first batch that is not durable.
    fn durable_batch(&self) -> u64 {
        match &self.disk {
            Some(disk) => disk.durable,
            // What is dropped to make room may not have been readable yet.
            None => self.readable.max(self.batches.start()),
        }
    }

    /// Which writers are remembered however many there are.
    fn protected(&mut self) -> Protected {
        let durable = self.durable();
        // What takes much of the index keeps records out.
        let many = self.documents.writers > self.options.max_index_bytes / PART_FOR_WRITERS;
        let young =
            if many { durable } else { self.times.since(self.wall, self.options.remember_writers) };
        Protected { durable, young }
    }

    fn tell(&mut self, now: Now) {
        self.wall = self.wall.max(now.wall);
    }
}
