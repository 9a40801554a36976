use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::places::Places;
use super::segments::SegmentFiles;
use super::system::{io_error, sync_directory};
use crate::format::STEP;
use crate::index::{NoIndex, SegmentIndex};
use crate::log::{Io, IoDone, IoToken};

/// A piece of I/O that others need not wait for, to be done on another thread.
#[derive(Debug)]
pub struct Beside {
    token: IoToken,
    /// What to do, or why it cannot be done.
    what: io::Result<What>,
}

#[derive(Debug)]
enum What {
    Sync(Arc<File>),
    Seal { file: Arc<File>, len: u64 },
    Index { segment: u64, file: Arc<File>, len: u64 },
    Delete { segment: u64, places: Places },
    Rewrite { file: Arc<File>, at: u64, bytes: Bytes },
    Replace { segment: u64, file: Arc<File>, places: Places },
    SyncNames { places: Places },
    Discard { segment: u64, places: Places },
}

impl SegmentFiles {
    /// Splits off a piece of I/O that may take long and that other I/O need not wait for: syncing, sealing, indexing,
    /// compacting, deleting.
    ///
    /// # Errors
    /// Anything else is given back, for [`perform`](Self::perform).
    pub fn beside(&mut self, io: Io) -> Result<Beside, Io> {
        let token = io.token();
        let what = match io {
            Io::Sync { segment, .. } => self.file(segment).map(What::Sync),
            Io::Seal { segment, len, .. } => {
                let file = self.file(segment);
                self.sealed(segment);
                file.map(|file| What::Seal { file, len })
            }
            Io::Index { segment, len, .. } => {
                let file = self.file(segment);
                file.map(|file| What::Index { segment, file, len })
            }
            Io::Delete { segment, .. } => {
                self.forget(segment);
                Ok(What::Delete { segment, places: self.places().clone() })
            }
            Io::Rewrite { segment, at, bytes, .. } => {
                let file = self.replacement(segment);
                file.map(|file| What::Rewrite { file, at, bytes })
            }
            Io::Replace { segment, .. } => {
                let (file, places) = (self.end_replacement(segment), self.places().clone());
                file.map(|file| What::Replace { segment, file, places })
            }
            Io::SyncNames { .. } => Ok(What::SyncNames { places: self.places().clone() }),
            Io::Discard { segment, .. } => {
                let _ = self.end_replacement(segment);
                Ok(What::Discard { segment, places: self.places().clone() })
            }
            other => return Err(other),
        };
        Ok(Beside { token, what })
    }
}

impl Beside {
    /// Whether what it does lets readers find what they waited for elsewhere ([`Io::Replace`]).
    #[must_use]
    pub fn moves(&self) -> bool {
        matches!(self.what, Ok(What::Replace { .. }))
    }

    /// Does it; returns when it is done.
    #[must_use]
    pub fn perform(self) -> IoDone {
        let token = self.token;
        IoDone { token, result: self.try_perform().map_err(|error| io_error(&error)) }
    }

    pub(super) fn try_perform(self) -> io::Result<Bytes> {
        match self.what? {
            What::Sync(file) => file.sync_data()?,
            What::Seal { file, len } => {
                file.set_len(len)?;
                file.sync_all()?;
            }
            What::Index { segment, file, len } => index(segment, &file, len)?,
            What::Delete { segment, places } => delete(&places, segment)?,
            What::Rewrite { file, at, bytes } => file.write_all_at(&bytes, at)?,
            What::Replace { segment, file, places } => {
                file.sync_all()?;
                fs::rename(places.replacement(segment), places.segment(segment))?;
            }
            What::SyncNames { places } => sync_directory(&places.folder)?,
            What::Discard { segment, places } => remove(&places.replacement(segment))?,
        }
        Ok(Bytes::new())
    }
}

/// Deletes a segment, durably.
pub(super) fn delete(places: &Places, segment: u64) -> io::Result<()> {
    // What may be of it in an object store is remembered before the rest goes: a stub without its segment would be one of
    // the log's segments.
    let stub = places.stub(segment);
    if stub.exists() {
        fs::rename(&stub, places.deleting(segment))?;
        sync_directory(&places.folder)?;
    }
    remove(&places.segment(segment))?;
    sync_directory(&places.folder)
}

/// Deletes a file, unless it has gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Reads a segment batch by batch, and writes its index behind them.
fn index(segment: u64, file: &File, len: u64) -> io::Result<()> {
    let wrong = |error: NoIndex| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut header = [0; STEP];
    file.read_exact_at(&mut header, 0)?;
    let mut index = SegmentIndex::new(segment, &header).map_err(wrong)?;
    let mut batch = Vec::new();
    while index.at() < len {
        file.read_exact_at(&mut header, index.at())?;
        let most = (len - index.at()) as usize;
        batch.resize(SegmentIndex::batch_len(&header).min(most), 0);
        file.read_exact_at(&mut batch, index.at())?;
        index.batch(&batch).map_err(wrong)?;
    }
    let index = index.finish().map_err(wrong)?;
    file.set_len(len)?;
    file.write_all_at(&index, len)?;
    file.sync_all()
}
