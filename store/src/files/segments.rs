use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::system::{Result, at, beside, io_error, is_out_of_descriptors};
use crate::format::STEP;
use crate::log::{Io, IoDone};

/// Files that are kept open for reading and writing.
const MAX_OPEN: usize = 16;

/// How often a file is tried to be opened while the process has no descriptor for it, and how long it waits in between:
/// 30 s together.
const MAX_TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// The segments of one log.
#[derive(Debug)]
pub struct SegmentFiles {
    folder: PathBuf,
    /// With when each was used last.
    open: HashMap<u64, (File, u64)>,
    uses: u64,
}

impl SegmentFiles {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, open: HashMap::new(), uses: 0 }
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
            Io::Write { segment, at, parts, .. } => write_all(self.file(segment)?, at, &parts)?,
            Io::Sync { segment, .. } => self.file(segment)?.sync_data()?,
            Io::Seal { segment, len, .. } => {
                let file = self.file(segment)?;
                file.set_len(len)?;
                file.sync_all()?;
            }
            Io::Delete { segment, .. } => {
                self.open.remove(&segment);
                fs::remove_file(self.path(segment))?;
                self.sync_folder()?;
            }
            Io::Read { segment, at, len, .. } => return read_exact(self.file(segment)?, at, len),
        }
        Ok(Bytes::new())
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(format!("{segment:020}.{EXTENSION}"))
    }

    fn file(&mut self, segment: u64) -> io::Result<&File> {
        self.uses += 1;
        if !self.open.contains_key(&segment) {
            let path = self.path(segment);
            let file = self.open_patiently(OpenOptions::new().read(true).write(true), &path)?;
            self.keep(segment, file);
        }
        let uses = self.uses;
        let (file, used) = self.open.get_mut(&segment).ok_or(io::ErrorKind::NotFound)?;
        *used = uses;
        Ok(file)
    }

    /// Opens a file, and waits for a while where the process has as many open as it may: what its network takes comes
    /// back, and a log that could not go on for that would be read-only for ever.
    fn open_patiently(&mut self, options: &OpenOptions, path: &Path) -> io::Result<File> {
        let mut tries = 0;
        loop {
            match options.open(path) {
                Err(error) if is_out_of_descriptors(&error) && tries < MAX_TRIES => tries += 1,
                done => return done,
            }
            self.close_oldest();
            std::thread::sleep(BETWEEN_TRIES);
        }
    }

    fn keep(&mut self, segment: u64, file: File) {
        if self.open.len() >= MAX_OPEN {
            self.close_oldest();
        }
        self.open.insert(segment, (file, self.uses));
    }

    fn close_oldest(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
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
        let file = self.open_patiently(&options, new)?;
        allocate(&file, len)?;
        file.write_all_at(header, 0)?;
        file.sync_all()?;
        // A segment of that name would be one that the log does not know of.
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(new, path)?;
        self.sync_folder()?;
        Ok(file)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let folder = self.folder.clone();
        self.open_patiently(OpenOptions::new().read(true), &folder)?.sync_all()
    }

    /// Cuts a segment off, durably.
    pub(super) fn cut(&self, segment: u64, len: u64) -> Result<()> {
        let path = self.path(segment);
        let file = OpenOptions::new().write(true).open(&path).map_err(at("open", &path))?;
        let found = file.metadata().map_err(at("look at", &path))?.len();
        if found != len {
            file.set_len(len).map_err(at("cut", &path))?;
            file.sync_all().map_err(at("sync", &path))?;
        }
        Ok(())
    }
}

const EXTENSION: &str = "segment";

/// The segments in a folder, in the order of their numbers. With `tidy`, what is not there as a whole is deleted.
pub(super) fn segments(folder: &Path, tidy: bool) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at("list", folder))? {
        let path = entry.map_err(at("list", folder))?.path();
        let extension = path.extension().and_then(|it| it.to_str());
        if extension == Some(EXTENSION) {
            let number = path.file_stem().and_then(|it| it.to_str()).and_then(|it| it.parse().ok());
            found.extend(number.map(|number| (number, path)));
        } else if tidy && extension == Some("new") {
            fs::remove_file(&path).map_err(at("delete", &path))?;
        }
    }
    found.sort_unstable();
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
