use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::beside::{Beside, delete};
use super::places::{ARCHIVED, Places, SEGMENT, number_of};
use super::system::{MAX_TRIES, Result, at, beside, io_error, open_patiently, sync_directory};
use crate::format::STEP;
use crate::log::{Io, IoDone};
use crate::recovery::{Recovered, Tail};

/// Files that are kept open for reading and writing.
const MAX_OPEN: usize = 16;

/// How often the file of a read is tried to be opened while the process has no descriptor for it: half a second together.
const READ_TRIES: u32 = 10;

/// The segments of one log.
#[derive(Debug)]
pub struct SegmentFiles {
    places: Places,
    open: HashMap<u64, OpenFile>,
    uses: u64,
    /// Segments that are kept elsewhere, and no longer here.
    archived: HashSet<u64>,
    /// What is being written to take the place of a segment.
    replacement: Option<(u64, Arc<File>)>,
}

/// A segment's file that is open.
#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    /// When it was used last, by the count of uses.
    used: u64,
    /// Whether it was written to and not sealed since.
    written: bool,
}

impl SegmentFiles {
    /// Of a folder, with the segments that only have a stub there.
    pub(super) fn new(folder: PathBuf, archived: HashSet<u64>) -> Self {
        Self {
            places: Places { folder },
            open: HashMap::new(),
            uses: 0,
            archived,
            replacement: None,
        }
    }

    /// Does a piece of I/O; returns when it is done.
    pub fn perform(&mut self, io: Io) -> IoDone {
        let token = io.token();
        let result = self.try_perform(io).map_err(|error| io_error(&error));
        IoDone { token, result }
    }

    fn try_perform(&mut self, io: Io) -> io::Result<Bytes> {
        match io {
            Io::Create { segment, header, len, .. } => self.create(segment, &header, len)?,
            Io::Write { segment, at, parts, .. } => {
                write_all(&*self.file_to_write(segment)?, at, &parts)?;
            }
            Io::Read { segment, at, len, .. } => {
                if self.is_archived(segment) {
                    // Not damage: `archive` knows how to come by it.
                    return Err(io::ErrorKind::HostUnreachable.into());
                }
                // Others wait behind it, and it can be asked for again.
                return read_exact(&self.file_within(segment, READ_TRIES)?.file, at, len);
            }
            io => return self.beside(io).map_or(Ok(Bytes::new()), Beside::try_perform),
        }
        Ok(Bytes::new())
    }

    /// Where the log's files are.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// A segment goes: its file is not kept open any longer, and it is not looked for elsewhere.
    pub(super) fn forget(&mut self, segment: u64) {
        self.open.remove(&segment);
        self.archived.remove(&segment);
    }

    /// A segment is kept elsewhere from now on.
    #[cfg(feature = "object-store")]
    pub(crate) fn note_archived(&mut self, segment: u64) {
        self.open.remove(&segment);
        self.archived.insert(segment);
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.places.segment(segment)
    }

    /// Whether a segment is kept elsewhere, and no longer here.
    #[must_use]
    pub fn is_archived(&self, segment: u64) -> bool {
        self.archived.contains(&segment)
    }

    /// Whether some of a segment may be elsewhere: it is archived, or was about to be.
    #[must_use]
    pub fn has_stub(&self, segment: u64) -> bool {
        self.places.stub(segment).exists()
    }

    /// A segment's file, for as many tries.
    fn file_within(&mut self, segment: u64, tries: u32) -> io::Result<&mut OpenFile> {
        self.uses += 1;
        if !self.open.contains_key(&segment) {
            let (path, mut options) = (self.path(segment), OpenOptions::new());
            options.read(true).write(true);
            let file = open_patiently(&options, &path, tries, || self.close_oldest())?;
            self.keep(segment, file);
        }
        let uses = self.uses;
        let opened = self.open.get_mut(&segment).ok_or(io::ErrorKind::NotFound)?;
        opened.used = uses;
        Ok(opened)
    }

    pub(super) fn file(&mut self, segment: u64) -> io::Result<Arc<File>> {
        self.file_within(segment, MAX_TRIES).map(|opened| opened.file.clone())
    }

    /// The file of a segment that is written to: it stays open until it is [sealed](Self::sealed), as one that could not be
    /// opened again could not be synced.
    fn file_to_write(&mut self, segment: u64) -> io::Result<Arc<File>> {
        let opened = self.file_within(segment, MAX_TRIES)?;
        opened.written = true;
        Ok(opened.file.clone())
    }

    /// The file that is to take the place of a segment.
    pub(super) fn replacement(&mut self, segment: u64) -> io::Result<Arc<File>> {
        if let Some((_, file)) = self.replacement.as_ref().filter(|(own, _)| *own == segment) {
            return Ok(file.clone());
        }
        let path = self.places.replacement(segment);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = Arc::new(open_patiently(&options, &path, MAX_TRIES, || self.close_oldest())?);
        self.replacement = Some((segment, file.clone()));
        Ok(file)
    }

    /// It is not written to any more. The segment's own file is another one from now on, if it took its place.
    pub(super) fn end_replacement(&mut self, segment: u64) -> io::Result<Arc<File>> {
        self.open.remove(&segment);
        match self.replacement.take() {
            Some((own, file)) if own == segment => Ok(file),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A segment is not written to any more.
    pub(super) fn sealed(&mut self, segment: u64) {
        if let Some(opened) = self.open.get_mut(&segment) {
            opened.written = false;
        }
    }

    fn keep(&mut self, segment: u64, file: File) {
        if self.open.len() >= MAX_OPEN {
            self.close_oldest();
        }
        let opened = OpenFile { file: Arc::new(file), used: self.uses, written: false };
        self.open.insert(segment, opened);
    }

    fn close_oldest(&mut self) {
        let others = self.open.iter().filter(|(_, opened)| !opened.written);
        let oldest = others.min_by_key(|(_, opened)| opened.used);
        if let Some(oldest) = oldest.map(|(segment, _)| *segment) {
            self.open.remove(&oldest);
        }
    }

    fn create(&mut self, segment: u64, header: &[u8], len: u64) -> io::Result<()> {
        let path = self.path(segment);
        let new = beside(&path);
        let made = self.create_as(&new, &path, header, len);
        if made.is_err() {
            // It may be the room that it takes that is wanted.
            let _ = fs::remove_file(&new);
        }
        self.keep(segment, made?);
        Ok(())
    }

    fn create_as(&mut self, new: &Path, path: &Path, header: &[u8], len: u64) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = open_patiently(&options, new, MAX_TRIES, || self.close_oldest())?;
        allocate(&file, len)?;
        file.write_all_at(header, 0)?;
        file.sync_all()?;
        // A segment of that name would be one that the log does not know of.
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(new, path)?;
        let synced = sync_directory(&self.places.folder);
        if synced.is_err() {
            // It is made anew, if it is.
            let _ = fs::remove_file(path);
        }
        synced.map(|()| file)
    }

    /// Makes durable what was found, and only that: what lies behind it goes.
    pub(super) fn settle(&self, found: &Recovered) -> Result<()> {
        let Some((last, len)) = found.cut() else { return Ok(()) };
        let folder = &self.places.folder;
        if !found.replaced().is_empty() {
            // What stands for them is to be there for good before they go.
            sync_directory(folder).map_err(at("sync", folder))?;
        }
        for segment in found.replaced() {
            let deleted = delete(&self.places, *segment);
            deleted.map_err(at("delete", &self.path(*segment)))?;
        }
        for segment in found.behind() {
            // One by one: what is left behind the tear must have no hole.
            let path = self.path(*segment);
            fs::remove_file(&path).map_err(at("delete", &path))?;
            sync_directory(&self.places.folder).map_err(at("sync", &self.places.folder))?;
        }
        let closed = found.tail() == Tail::Closed;
        for segment in found.segments() {
            let path = self.path(segment);
            if self.is_archived(segment) {
                continue;
            }
            let file = OpenOptions::new().write(true).open(&path).map_err(at("open", &path))?;
            let is_long =
                segment == last && file.metadata().map_err(at("look at", &path))?.len() != len;
            if is_long {
                file.set_len(len).map_err(at("cut", &path))?;
            }
            // A process that was killed may have left what is in the page cache only.
            if is_long || !closed {
                file.sync_all().map_err(at("sync", &path))?;
            }
        }
        Ok(())
    }
}

/// The segments in a folder, in the order of their numbers, those that are kept elsewhere by their stubs. With `tidy`, what
/// is not there as a whole is deleted.
pub(super) fn segments(folder: &Path, tidy: bool) -> Result<Vec<(u64, PathBuf)>> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).map_err(at("list", folder))? {
        let path = entry.map_err(at("list", folder))?.path();
        let extension = path.extension().and_then(|it| it.to_str());
        if extension == Some(SEGMENT) || extension == Some(ARCHIVED) {
            found.extend(number_of(&path).map(|number| (number, path)));
        } else if tidy && extension == Some("new") {
            fs::remove_file(&path).map_err(at("delete", &path))?;
        }
    }
    // What is still here is believed. Its stub stays: by that, what may be in the store already goes with it.
    found.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
    found.dedup_by_key(|(number, _)| *number);
    Ok(found)
}

/// Takes the room now, so that no write finds the disk full, and no sync has to write down a new length.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(len),
        done => Ok(done?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allocate(file: &File, len: u64) -> io::Result<()> {
    file.set_len(len)
}

fn write_all(file: &File, mut at: u64, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut slices = slices.as_mut_slice();
    while !slices.is_empty() {
        match rustix::io::pwritev(file, slices, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn read_exact(file: &File, at: u64, len: usize) -> io::Result<Bytes> {
    let mut place = BytesMut::with_capacity(len + STEP);
    let gap = place.spare_capacity_mut().as_ptr().align_offset(STEP).min(STEP);
    place.resize(gap + len, 0);
    let mut bytes = place.split_off(gap);
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.freeze())
}
