//! The hashes of a file's pieces: those that do not fit into memory lie in a file without a name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use zerocopy::IntoBytes;

use crate::hashing::{Hash, hash_piece, merge_group};
use crate::layout::Layout;
use crate::source::root_of;
use crate::unfinished::MAX_KEPT_HASHES;

/// A file's hash, and when it was changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedFile {
    /// How it is cut, and its hash.
    pub layout: Layout,
    /// Microseconds since the Unix epoch.
    pub modified: u64,
}

/// Reads a file for its hash. It takes as long as reading does: not for a task.
///
/// # Errors
/// What the system says, and a file that is too long.
pub fn hash_file(path: &Path, piece_len: u32) -> io::Result<HashedFile> {
    let file = File::open(path)?;
    let hashed = HashList::of(&file, piece_len, || true)?.ok_or(io::ErrorKind::Interrupted)?;
    Ok(HashedFile { layout: hashed.layout, modified: hashed.modified })
}

/// The hashes of a file's pieces.
pub(super) struct HashList {
    pub(super) layout: Layout,
    pub(super) modified: u64,
    pub(super) groups: Vec<Hash>,
    kept: Kept,
}

enum Kept {
    Memory(Vec<Hash>),
    File(File),
    /// They are calculated anew, as no file could be made for them.
    Nowhere,
}

impl HashList {
    /// Reads a file, as long as `goes_on` says so.
    pub(super) fn of(
        file: &File,
        piece_len: u32,
        mut goes_on: impl FnMut() -> bool,
    ) -> io::Result<Option<Self>> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let layout = Layout::new(metadata.len(), [0; 32], piece_len)
            .map_err(|error| io::Error::new(io::ErrorKind::FileTooLarge, error))?;
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        let mut kept = match layout.pieces() {
            pieces if pieces <= MAX_KEPT_HASHES => {
                Kept::Memory(Vec::with_capacity(pieces as usize))
            }
            _ => nameless().map_or(Kept::Nowhere, Kept::File),
        };
        let mut groups = Vec::with_capacity(layout.groups() as usize);
        for group in 0..layout.groups() {
            if !goes_on() {
                return Ok(None);
            }
            let hashes = hashes_of(file, &layout, group)?;
            groups.push(merge_group(&layout, &hashes));
            match &mut kept {
                Kept::Memory(all) => all.extend(hashes),
                Kept::File(list) => {
                    let at = 32 * u64::from(layout.pieces_of(group).start);
                    if list.write_all_at(hashes.as_bytes(), at).is_err() {
                        kept = Kept::Nowhere;
                    }
                }
                Kept::Nowhere => {}
            }
        }
        let root = root_of(&groups);
        let layout = Layout::new(layout.len(), root, piece_len)
            .map_err(|error| io::Error::new(io::ErrorKind::FileTooLarge, error))?;
        Ok(Some(Self { layout, modified, groups, kept }))
    }

    /// Those of a group's pieces.
    pub(super) fn pieces_of(&self, file: &File, group: u32) -> io::Result<Vec<Hash>> {
        let pieces = self.layout.pieces_of(group);
        match &self.kept {
            Kept::Memory(all) => {
                let range = pieces.start as usize..pieces.end as usize;
                Ok(all.get(range).unwrap_or_default().to_vec())
            }
            Kept::File(list) => {
                let mut hashes = vec![[0; 32]; pieces.len()];
                list.read_exact_at(hashes.as_mut_bytes(), 32 * u64::from(pieces.start))?;
                Ok(hashes)
            }
            Kept::Nowhere => hashes_of(file, &self.layout, group),
        }
    }
}

fn hashes_of(file: &File, layout: &Layout, group: u32) -> io::Result<Vec<Hash>> {
    let mut buffer = vec![0; layout.piece_len() as usize];
    let mut hashes = Vec::with_capacity(layout.pieces_of(group).len());
    for index in layout.pieces_of(group) {
        let piece = buffer.get_mut(..layout.len_of(index)).unwrap_or_default();
        file.read_exact_at(piece, layout.offset(index))?;
        hashes.push(hash_piece(layout, index, piece));
    }
    Ok(hashes)
}

/// A file that is gone with its last handle.
fn nameless() -> io::Result<File> {
    let folder = std::env::temp_dir();
    for attempt in 0..64_u32 {
        let unique = (std::process::id(), std::thread::current().id(), attempt);
        let path = folder.join(format!(".deltawire-hashes-{unique:?}"));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
