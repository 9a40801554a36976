use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStoreExt};

use super::{Archive, ArchiveError};
use crate::files::Places;

/// The object that says that a log's segments are in this store.
const NAME: &str = "archive";

/// What is in it: nobody reads that.
const MARK: &[u8] = b"DLA1";

impl Archive {
    /// Whether the store has anything of this log's.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn is_marked(&self) -> Result<bool, object_store::Error> {
        match self.store.head(&self.mark()).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that the store is this log's: it is marked with the first segment that is put there, and never after.
    pub(super) async fn check_mark(
        &self,
        places: &Places,
        segment: u64,
    ) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Store { segment, source };
        if self.is_marked().await.map_err(failed)? {
            return Ok(());
        }
        let looked = places.has_archived();
        let doing = "look for others than";
        if looked.map_err(|source| ArchiveError::Io { doing, segment, source })? {
            return Err(ArchiveError::Unmarked { object: self.mark().to_string() });
        }
        self.store.put(&self.mark(), MARK.into()).await.map_err(failed)?;
        Ok(())
    }

    pub(super) fn mark(&self) -> ObjectPath {
        self.prefix.clone().join(NAME)
    }
}
