//! Sealed segments in an object store, for logs in files. Asynchronous.
//!
//! A segment is in one of five states, each of which a crash leaves as it is:
//!
//! | state | what there is | what makes it |
//! |---|---|---|
//! | active | `N.segment`, written to | the log |
//! | sealed | `N.segment` with its index | the log ([`Log::sealed`](crate::Log::sealed)) |
//! | persisted | the same, with `N.archived` beside: all of it may be in the store, or a part, or nothing | [`Archive::persist`] |
//! | archived | the object; here only `N.archived`: header and index, by which the log is opened | [`SegmentFiles::archived`] |
//! | erased | `N.deleting`: the log has it no longer, the store still may | the log ([`Io::Delete`]) |
//!
//! What is here is believed, and not what is in the store: a segment whose upload did not end is put again. An object
//! that is another segment's is never written over ([`ArchiveError::Taken`]). Reads of archived segments are ranges of the
//! object; what comes is checked as what a disk gives is.
//!
//! A store that cannot be reached is no damage: the read is answered by [`IoError::Unreachable`], and who reads asks
//! again. Nor is one that has nothing of the log, such as a folder where nothing is mounted: an object `PREFIX/archive`
//! tells that from one that lost a segment.
//!
//! Whoever has one thread for all of it calls [`Archive::perform`], [`put`](Archive::put) and
//! [`erase_all`](Archive::erase_all). The others split them: [`persist`](Archive::persist), [`fetch`](Archive::fetch) and
//! [`erase`](Archive::erase) wait for the store, and know nothing of what is open here. No segment may be deleted between
//! `persist` and [`SegmentFiles::archived`]; and with [`compact_below`](crate::LogOptions::compact_below) none may be put of
//! which [`Log::leaves`](crate::Log::leaves) does not say that it may.

mod erasing;
mod marking;
mod putting;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

pub use putting::{Persisted, Remainder};

use crate::files::SegmentFiles;
use crate::format::STEP;
use crate::log::{Io, IoDone, IoError};

/// Why a segment was not archived, or not erased. It is where it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The segment has no index yet, or none that is sound: only what [`Log::sealed`](crate::Log::sealed) names has one.
    #[error("segment {segment} has no index")]
    NoIndex {
        /// The segment.
        segment: u64,
    },
    /// A call of the operating system's failed.
    #[error("could not {doing} segment {segment}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The segment.
        segment: u64,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The object store failed, or cannot be reached.
    #[error("object store, segment {segment}: {source}")]
    Store {
        /// The segment.
        segment: u64,
        /// What the store said.
        source: object_store::Error,
    },
    /// The store says that it has other than was put.
    #[error("object store, segment {segment}: it has {value} bytes, and {expected} were put")]
    Length {
        /// The segment.
        segment: u64,
        /// Bytes that the object has.
        value: u64,
        /// Bytes that it has to have.
        expected: u64,
    },
    /// The store gives back other bytes than were put.
    #[error(
        "object store, segment {segment}: crc {value:08x} of what it has, and {expected:08x} was put"
    )]
    Differs {
        /// The segment.
        segment: u64,
        /// CRC-32C of what the object has.
        value: u32,
        /// CRC-32C of what it has to have.
        expected: u32,
    },
    /// Another segment's object has that name: the prefix is not this log's alone, or the directory was copied.
    #[error(
        "object store, segment {segment}: {object} is another segment's, and is not written over"
    )]
    Taken {
        /// The segment.
        segment: u64,
        /// The object.
        object: String,
    },
    /// Segments of the log are archived, and the store has nothing of it: it is another one, or not there now.
    #[error(
        "object store: there is no {object}, so it has nothing of this log's. Is it the right one?"
    )]
    Unmarked {
        /// The object that the first segment came with.
        object: String,
    },
}

/// The archive of one log: objects `PREFIX/NNNNNNNNNNNNNNNNNNNN.segment`. Local files are read and written in the task
/// that calls: use it on a thread that may wait for a disk.
#[derive(Clone, Debug)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
}

impl Archive {
    /// An archive under `prefix`, which must be this log's alone.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: ObjectPath) -> Self {
        Self { store, prefix }
    }

    /// Does a piece of I/O: in the store if it reads an archived segment, else in `files`. What is deleted there waits for
    /// [`erase_all`](Self::erase_all).
    pub async fn perform(&self, files: &mut SegmentFiles, io: Io) -> IoDone {
        if matches!(io, Io::Read { .. }) && files.is_archived(io.segment()) {
            return self.fetch(io).await;
        }
        files.perform(io)
    }

    /// Reads from an archived segment; anything else is refused.
    pub async fn fetch(&self, io: Io) -> IoDone {
        let token = io.token();
        let result = match io {
            Io::Read { segment, at, len, .. } => self.read(segment, at, len).await,
            _ => Err(IoError::Failed("not a read".into())),
        };
        IoDone { token, result }
    }

    async fn read(&self, segment: u64, at: u64, len: usize) -> Result<Bytes, IoError> {
        let range = at..at.saturating_add(len as u64);
        let end = range.end;
        let found = match self.store.get_range(&self.object(segment), range).await {
            Ok(found) => found,
            Err(error) => return Err(self.why(segment, end, error).await),
        };
        if found.len() != len {
            return Err(IoError::Failed(format!("{len} bytes asked for, {} given", found.len())));
        }
        if found.as_ptr().addr().is_multiple_of(STEP) {
            return Ok(found);
        }
        let mut place = BytesMut::with_capacity(len + STEP);
        let gap = place.spare_capacity_mut().as_ptr().align_offset(STEP).min(STEP);
        place.resize(gap, 0);
        place.extend_from_slice(&found);
        Ok(place.freeze().slice(gap..))
    }

    /// Tells an object that is gone, or cut, from a store that is.
    async fn why(&self, segment: u64, end: u64, error: object_store::Error) -> IoError {
        let reason = error.to_string();
        if matches!(error, object_store::Error::NotFound { .. }) {
            return match self.is_marked().await {
                Ok(true) => IoError::Failed(reason),
                Ok(false) => IoError::Unreachable("the store has nothing of this log".into()),
                Err(error) => IoError::Unreachable(error.to_string()),
            };
        }
        match self.store.head(&self.object(segment)).await {
            Ok(object) if object.size < end => {
                IoError::Failed(format!("the object has {} bytes: {reason}", object.size))
            }
            _ => IoError::Unreachable(reason),
        }
    }

    fn object(&self, segment: u64) -> ObjectPath {
        self.prefix.clone().join(format!("{segment:020}.segment"))
    }
}
