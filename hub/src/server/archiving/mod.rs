//! Segments that a hub in files keeps in an object store: which of them, when, and how that goes.
//!
//! A thread for all shards waits for the store (`librarian.rs`). Which segment goes next is for each shard's own thread to
//! say, one at a time (`shelf.rs`). No lock is held while either waits for anything.

mod librarian;
mod shelf;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

pub(super) use librarian::Librarian;
pub(super) use shelf::{Routed, Shelf};

/// Where a hub in files puts the segments that it need not have at hand, and when.
///
/// A segment goes when it is full, and one of the two limits is passed; the oldest goes first. Objects are named
/// `PREFIX/ID/SHARD/NUMBER.segment`, with an ID of the directory's own: directories may share a store and a prefix.
#[derive(Clone)]
pub struct Archiving {
    /// The store. What it says that it has is deleted in the directory, after it was read back: a
    /// [`LocalFileSystem`](https://docs.rs/object_store/latest/object_store/local/struct.LocalFileSystem.html) has to be one
    /// [`with_fsync`](https://docs.rs/object_store/latest/object_store/local/struct.LocalFileSystem.html#method.with_fsync).
    /// Its requests run on a tokio runtime of a thread of their own.
    pub store: Arc<dyn ObjectStore>,
    /// In front of the names of all objects. Default: nothing.
    pub prefix: String,
    /// Bytes of full segments of each shard that stay in the directory. Default: 1 GiB.
    pub keep_bytes: u64,
    /// How long after its last delta a segment stays there at most. Default: as long as there is room.
    pub keep_for: Option<Duration>,
    /// How long a request may take; for one to put a segment, each 8 MiB of it. Default: 30 s.
    pub timeout: Duration,
    /// Requests to read at a time, of all shards. Default: 16.
    pub max_reads: usize,
}

impl Archiving {
    /// With the defaults.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            prefix: String::new(),
            keep_bytes: 1 << 30,
            keep_for: None,
            timeout: Duration::from_secs(30),
            max_reads: 16,
        }
    }
}

impl fmt::Debug for Archiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archiving")
            .field("store", &format_args!("{}", self.store))
            .field("prefix", &self.prefix)
            .field("keep_bytes", &self.keep_bytes)
            .field("keep_for", &self.keep_for)
            .finish_non_exhaustive()
    }
}

/// What a hub has in its object store, and what came of asking it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveStats {
    /// Segments that are there, and no longer in the directory.
    pub segments: u64,
    /// Bytes of their deltas, headers included.
    pub bytes: u64,
    /// Segments that were moved there.
    pub put_segments: u64,
    /// Bytes of their objects.
    pub put_bytes: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Bytes that they gave.
    pub read_bytes: u64,
    /// Deleted segments of which the store has nothing any more.
    pub erased_segments: u64,
    /// Requests that failed or had no answer in time, to be made again.
    pub failures: u64,
    /// Of them those since the store last did what it was asked: 0 while all is well.
    pub failing: u64,
    /// Segments that are not moved, and objects that cannot be read, for what is wrong with them: the log says what.
    pub errors: u64,
}
