use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use object_store::{Error, ObjectStoreExt};

use super::{Archive, ArchiveError};
use crate::files::Places;
use crate::files::beside::remove;
use crate::files::system::sync_directory;
use crate::format::{STEP, SegmentHeader};

impl Archive {
    /// Deletes the objects of segments that the log has deleted ([`Places::to_erase`]), oldest first.
    ///
    /// # Errors
    /// The first that cannot be deleted now: it and those behind it wait for the next call.
    pub async fn erase_all(&self, places: &Places) -> Result<(), ArchiveError> {
        let doing = "look for";
        let found = places.to_erase();
        let found = found.map_err(|source| ArchiveError::Io { doing, segment: 0, source })?;
        for segment in found {
            self.erase(places, segment).await?;
        }
        Ok(())
    }

    /// Deletes the object of one of them, if there is one and it is that segment's.
    ///
    /// # Errors
    /// Nothing has changed here then. Erase it again.
    pub async fn erase(&self, places: &Places, segment: u64) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Store { segment, source };
        let io_failed = |doing| move |source| ArchiveError::Io { doing, segment, source };
        let left = places.deleting(segment);
        let header = header(&left).map_err(io_failed("read what is left of"))?;
        if !self.is_marked().await.map_err(failed)? {
            // Where nothing is mounted, nothing is found either.
            return Err(ArchiveError::Unmarked { object: self.mark().to_string() });
        }
        let object = self.object(segment);
        match self.store.get_range(&object, 0..STEP as u64).await {
            Ok(found) if SegmentHeader::is_same(&found, &header) => {
                match self.store.delete(&object).await {
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        remove(&left).map_err(io_failed("delete what is left of"))?;
        sync_directory(&places.folder).map_err(io_failed("delete what is left of"))
    }

    /// Sees to it that no other segment's object has the name of this one's.
    pub(super) async fn check_free(&self, segment: u64, header: &[u8]) -> Result<(), ArchiveError> {
        let object = self.object(segment);
        match self.store.get_range(&object, 0..STEP as u64).await {
            Ok(found) if SegmentHeader::is_same(&found, header) => Ok(()),
            Ok(_) => Err(ArchiveError::Taken { segment, object: object.to_string() }),
            Err(Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(ArchiveError::Store { segment, source }),
        }
    }
}

/// The first 64 bytes of a file.
fn header(path: &std::path::Path) -> io::Result<[u8; STEP]> {
    let mut header = [0; STEP];
    File::open(path)?.read_exact_at(&mut header, 0)?;
    Ok(header)
}
