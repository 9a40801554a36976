//! The operating system's calls, with what they were about when they fail.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::log::IoError;

pub(crate) type Result<T> = std::result::Result<T, OpenError>;

/// Names what failed and where.
pub(super) fn at<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { doing, path: path.to_owned(), source }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The same as [`write_whole`], for who names what failed otherwise.
#[cfg(feature = "object-store")]
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_whole(path, bytes).map_err(|error| match error {
        OpenError::Io { source, .. } => source,
        error => io::Error::other(error),
    })
}

/// Writes a file so that after a crash it is there as a whole, or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = beside(path);
    let mut file = File::create(&new).map_err(at("create", &new))?;
    file.write_all(bytes).map_err(at("write", &new))?;
    file.sync_all().map_err(at("sync", &new))?;
    std::fs::rename(&new, path).map_err(at("rename to", path))?;
    let parent = path.parent().unwrap_or(path);
    sync_directory(parent).map_err(at("sync", parent))
}

/// Reads a file of at most `most` bytes; `None` if there is none.
pub(super) fn read_short(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(at("read", path))?;
    Ok(Some(bytes))
}

/// A name for what is not there as a whole yet. Such files are deleted when a directory is opened.
pub(super) fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

pub(crate) fn io_error(error: &io::Error) -> IoError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => IoError::Full,
        io::ErrorKind::HostUnreachable => IoError::Unreachable(error.to_string()),
        _ => IoError::Failed(error.to_string()),
    }
}
