use std::io;
use std::path::{Path, PathBuf};

/// How the names of files end: of segments, of what is left of those that are kept elsewhere, and of what is left while
/// that is still to be deleted there.
pub(crate) const SEGMENT: &str = "segment";
pub(crate) const ARCHIVED: &str = "archived";
pub(crate) const DELETING: &str = "deleting";

/// Where the files of a log are.
#[derive(Clone, Debug)]
pub struct Places {
    pub(crate) folder: PathBuf,
}

impl Places {
    pub(crate) fn segment(&self, segment: u64) -> PathBuf {
        self.of(segment, SEGMENT)
    }

    /// The stub of a segment of which all or a part may be elsewhere.
    pub(crate) fn stub(&self, segment: u64) -> PathBuf {
        self.of(segment, ARCHIVED)
    }

    /// What says that a segment is to be deleted elsewhere.
    pub(crate) fn deleting(&self, segment: u64) -> PathBuf {
        self.of(segment, DELETING)
    }

    /// What is to take the place of a segment. Deleted when the directory is opened.
    pub(crate) fn replacement(&self, segment: u64) -> PathBuf {
        self.of(segment, "compacted.new")
    }

    fn of(&self, segment: u64, extension: &str) -> PathBuf {
        self.folder.join(format!("{segment:020}.{extension}"))
    }

    /// Segments of the log that are to be deleted where they are archived, in the order of their numbers.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn to_erase(&self) -> io::Result<Vec<u64>> {
        self.all_of(DELETING)
    }

    /// Whether anything of the log is elsewhere only.
    #[cfg(feature = "object-store")]
    pub(crate) fn has_archived(&self) -> io::Result<bool> {
        let mut archived = self.all_of(ARCHIVED)?.into_iter();
        Ok(archived.any(|it| !self.segment(it).exists()) || !self.to_erase()?.is_empty())
    }

    fn all_of(&self, extension: &str) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for entry in self.folder.read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == extension) {
                found.extend(number_of(&path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// The segment that a file is of, by its name.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}
