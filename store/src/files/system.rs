//! The operating system's calls, with what they were about when they fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    open_patiently(OpenOptions::new().read(true), path, MAX_TRIES, || ())?.sync_all()
}

/// How often a file is tried to be opened while the process has no descriptor for it, and how long it waits in between:
/// 30 s together.
pub(super) const MAX_TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Opens a file, and waits for a while where the process has as many open as it may, after having made room: what its
/// network takes comes back, and a log that could not go on for that would be read-only for ever.
pub(super) fn open_patiently(
    options: &OpenOptions,
    path: &Path,
    most: u32,
    mut make_room: impl FnMut(),
) -> io::Result<File> {
    let mut tries = 0;
    loop {
        match options.open(path) {
            Err(error) if is_out_of_descriptors(&error) && tries < most => tries += 1,
            done => return done,
        }
        make_room();
        std::thread::sleep(BETWEEN_TRIES);
    }
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

/// Whether the process, or the machine, has as many files open as it may.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|it| errno == Some(it.raw_os_error()))
}

pub(crate) fn io_error(error: &io::Error) -> IoError {
    match error.kind() {
        _ if is_out_of_descriptors(error) => IoError::NoDescriptor,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => IoError::Full,
        io::ErrorKind::HostUnreachable => IoError::Unreachable(error.to_string()),
        _ => IoError::Failed(error.to_string()),
    }
}
