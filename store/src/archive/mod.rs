//! Sealed segments in an object store, for logs in files. Asynchronous.
//!
//! A segment is in one of four states, each of which a crash leaves as it is:
//!
//! | state | where it is | what makes it |
//! |---|---|---|
//! | active | `N.segment`, written to | the log |
//! | sealed | `N.segment` with its index | the log ([`Log::sealed`](crate::Log::sealed)) |
//! | persisted | the same, and in the store | [`Archive::put`], until the local file goes |
//! | archived | in the store; here only `N.archived`: header and index, by which the log is opened | [`Archive::put`] |
//!
//! A segment whose upload did not end is sealed, and is put again. One that is persisted is read here; to put it again
//! replaces the object by the same bytes. Reads of archived segments are ranges of the object; what comes is checked as
//! what a disk gives is. A store that cannot be reached is no damage: the read is answered by
//! [`IoError::Unreachable`], and who reads asks again.

mod putting;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::files::SegmentFiles;
use crate::files::system::{io_error, sync_directory};
use crate::format::STEP;
use crate::log::{Io, IoDone, IoError};

/// Why a segment was not archived. It is where it was.
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

    /// Does a piece of I/O: in the store if it is of an archived segment, else in `files`.
    pub async fn perform(&self, files: &mut SegmentFiles, io: Io) -> IoDone {
        if !matches!(io, Io::Read { .. } | Io::Delete { .. }) || !files.is_archived(io.segment()) {
            return files.perform(io);
        }
        let token = io.token();
        let result = match io {
            Io::Read { segment, at, len, .. } => self.read(segment, at, len).await,
            io => {
                let (stub, folder) = files.forget_stub(io.segment());
                self.delete(io.segment(), stub, folder).await
            }
        };
        IoDone { token, result }
    }

    async fn read(&self, segment: u64, at: u64, len: usize) -> Result<Bytes, IoError> {
        let range = at..at.saturating_add(len as u64);
        let found = self.store.get_range(&self.object(segment), range).await;
        let found = found.map_err(|error| match error {
            object_store::Error::NotFound { .. } => IoError::Failed(error.to_string()),
            error => IoError::Unreachable(error.to_string()),
        })?;
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

    /// The object goes first: what is left by a crash is a stub, which is deleted with its segment's next deletion.
    async fn delete(&self, segment: u64, stub: PathBuf, folder: PathBuf) -> Result<Bytes, IoError> {
        match self.store.delete(&self.object(segment)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(IoError::Unreachable(error.to_string())),
        }
        fs::remove_file(stub).and_then(|()| sync_directory(&folder)).map_err(|it| io_error(&it))?;
        Ok(Bytes::new())
    }

    fn object(&self, segment: u64) -> ObjectPath {
        self.prefix.clone().join(format!("{segment:020}.segment"))
    }
}
