//! A file that is not whole yet.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use deltawire_framing::bulk::BulkStatus;
use rustix::fs::FallocateFlags;

use super::hash_list::hash_file;
use super::saved;
use crate::error::TransferError;
use crate::hashing::{Hash, hash_piece};
use crate::layout::Layout;
use crate::name::{FileName, MAX_STEM, PART, STATE};
use crate::pieces::Pieces;
use crate::sink::{Existing, FolderSink};
use crate::unfinished::NotOpened;

/// A file that is not whole yet. It is locked: no other transfer writes to it.
pub(super) struct Part {
    pub(super) file: File,
    path: PathBuf,
    state: PathBuf,
    folder: PathBuf,
    name: FileName,
    existing: Existing,
    modified: Option<u64>,
    pub(super) layout: Layout,
    /// What is there under the final name, of which pieces may be the same.
    basis: Option<File>,
    /// What an earlier transfer left may hold pieces that were not remembered.
    pub(super) looks: bool,
    buffer: Vec<u8>,
}

impl Part {
    /// Opens what an earlier transfer left, or begins; and says which pieces are there.
    pub(super) fn open(
        sink: &FolderSink,
        name: &FileName,
        layout: Layout,
        modified: u64,
    ) -> Result<(Self, Pieces), NotOpened> {
        let refused = |status| NotOpened::Failed(TransferError::Here(status));
        let name = sink.name.clone().unwrap_or_else(|| name.clone());
        if name.as_str().len() > MAX_STEM {
            return Err(refused(BulkStatus::NAME));
        }
        let folder = sink.folder.clone();
        let target = folder.join(name.as_str());
        let path = folder.join(format!("{name}{PART}"));
        let state = folder.join(format!("{name}{STATE}"));
        let there = fs::symlink_metadata(&target);
        if there.as_ref().is_ok_and(|it| it.is_file() && it.len() == layout.len())
            && hash_file(&target, layout.piece_len())
                .is_ok_and(|found| found.layout.root() == layout.root())
        {
            // Whoever gave it its name may have had no time to tell, and to clear up.
            if let Ok(part) = File::open(&path)
                && part.try_lock().is_ok()
            {
                let _ = fs::remove_file(&path);
                saved::forget(&state);
            }
            return Err(NotOpened::There(target));
        }
        match (&there, sink.existing) {
            (Ok(_), Existing::Refuse) => return Err(refused(BulkStatus::EXISTS)),
            (Ok(it), Existing::Replace) if !it.is_file() => {
                return Err(refused(BulkStatus::EXISTS));
            }
            _ => {}
        }
        let open = TransferError::io("open the file to write");
        if fs::symlink_metadata(&path).is_ok_and(|it| !it.is_file()) {
            return Err(refused(BulkStatus::EXISTS));
        }
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(open)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NotOpened::Busy),
            Err(TryLockError::Error(error)) => {
                return Err(TransferError::io("lock the file to write")(error).into());
            }
        }
        // Who had it may have given it its name since.
        if fs::metadata(&path).ok().map(|it| it.ino()) != file.metadata().ok().map(|it| it.ino()) {
            return Err(NotOpened::Busy);
        }
        let before = file.metadata().map_err(TransferError::io("look at the file"))?.len();
        let have = saved::load(&state, &layout);
        if have.is_none() {
            saved::forget(&state);
        }
        let basis = (sink.existing == Existing::Replace && there.is_ok())
            .then(|| File::open(&target).ok())
            .flatten();
        let looks = basis.is_some() || before > 0;
        // What is past its end was not written.
        let have = have.filter(|_| before == layout.len());
        let part = Self {
            file,
            path,
            state,
            folder,
            name,
            existing: sink.existing,
            modified: (sink.keep_modified && modified > 0).then_some(modified),
            layout,
            basis,
            looks,
            buffer: Vec::new(),
        };
        if let Err(error) = part.take_room(before) {
            if before == 0 {
                part.discard();
            }
            return Err(error.into());
        }
        Ok((part, have.unwrap_or_else(|| Pieces::none(layout.pieces()))))
    }

    /// Has the file system set room aside for all of it, so that it cannot be missing later.
    fn take_room(&self, before: u64) -> Result<(), TransferError> {
        let len = self.layout.len();
        if len == 0 || before > len {
            return self.file.set_len(len).map_err(TransferError::io("cut the file"));
        }
        let room = TransferError::io("set room aside for the file");
        let no_room = || TransferError::Here(BulkStatus::NO_ROOM);
        // What it has already it does not need again.
        let has = self.file.metadata().map_or(0, |it| it.blocks().saturating_mul(512));
        if let Ok(system) = rustix::fs::fstatvfs(&self.file)
            && system.f_bavail.saturating_mul(system.f_frsize) < len.saturating_sub(has)
        {
            return Err(no_room());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::NOSPC) => Err(no_room()),
            // A file system that cannot.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.file.set_len(len).map_err(room)
            }
            Err(error) => Err(room(error.into())),
        }
    }

    /// Writes a piece if it is what it has to be. Says whether it was.
    pub(super) fn write(&self, index: u32, hash: &Hash, bytes: &[u8]) -> io::Result<bool> {
        if hash_piece(&self.layout, index, bytes) != *hash {
            return Ok(false);
        }
        self.file.write_all_at(bytes, self.layout.offset(index))?;
        Ok(true)
    }

    /// Looks for a piece: in what an earlier transfer left, and in what is there under the final name.
    pub(super) fn look(&mut self, index: u32, hash: &Hash) -> io::Result<bool> {
        let (offset, len) = (self.layout.offset(index), self.layout.len_of(index));
        self.buffer.resize(len, 0);
        let mut found = |file: &File| {
            let read = file.read_exact_at(&mut self.buffer, offset);
            read.is_ok() && hash_piece(&self.layout, index, &self.buffer) == *hash
        };
        if found(&self.file) {
            return Ok(true);
        }
        let in_basis = self.basis.as_ref().is_some_and(&mut found);
        if in_basis {
            self.file.write_all_at(&self.buffer, offset)?;
        }
        Ok(in_basis)
    }

    /// Makes what is written safe, and remembers it.
    pub(super) fn save(
        file: &File,
        state: &Path,
        layout: &Layout,
        have: &Pieces,
    ) -> io::Result<()> {
        file.sync_data()?;
        saved::save(state, layout, have)
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Gives the whole file its name, when its bytes are safe.
    pub(super) fn finish(self) -> Result<PathBuf, TransferError> {
        self.file.sync_all().map_err(TransferError::io("sync the file"))?;
        if let Some(modified) = self.modified {
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(modified));
            if let Some(at) = at {
                // A file without its time is better than none.
                let _ = self.file.set_modified(at);
            }
        }
        let rename = TransferError::io("give the file its name");
        let target = match self.existing {
            Existing::Replace => {
                let target = self.folder.join(self.name.as_str());
                fs::rename(&self.path, &target).map_err(rename)?;
                target
            }
            Existing::Refuse | Existing::Rename => self.link_free_name()?,
        };
        saved::forget(&self.state);
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(TransferError::io("sync the folder"))?;
        Ok(target)
    }

    /// Gives it a name that no file has: the first that is free.
    fn link_free_name(&self) -> Result<PathBuf, TransferError> {
        for number in 0..10_000_u32 {
            let target = self.folder.join(self.name.numbered(number));
            // A link never takes the place of what is there.
            match fs::hard_link(&self.path, &target) {
                Ok(()) => {
                    let removed = fs::remove_file(&self.path);
                    removed.map_err(TransferError::io("remove the .part"))?;
                    return Ok(target);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.existing == Existing::Refuse {
                        return Err(TransferError::Here(BulkStatus::EXISTS));
                    }
                }
                // A file system without links: between the look and the step another may come.
                Err(_) if fs::symlink_metadata(&target).is_err() => {
                    let renamed = fs::rename(&self.path, &target);
                    renamed.map_err(TransferError::io("give the file its name"))?;
                    return Ok(target);
                }
                Err(_) if self.existing == Existing::Refuse => {
                    return Err(TransferError::Here(BulkStatus::EXISTS));
                }
                Err(_) => {}
            }
        }
        Err(TransferError::Here(BulkStatus::EXISTS))
    }

    /// Takes away what nobody can use.
    fn discard(&self) {
        saved::forget(&self.state);
        let _ = fs::remove_file(&self.path);
    }
}
