//! A file of the origin's own file system that is not whole yet.

use std::io;
use std::path::PathBuf;

use deltawire_framing::bulk::BulkStatus;
use web_sys::{Blob, FileSystemDirectoryHandle, FileSystemFileHandle};

use super::blob::{self, HashList};
use super::lock::Lock;
use super::storage::{self, Open};
use crate::error::TransferError;
use crate::hashing::{Hash, hash_piece};
use crate::layout::Layout;
use crate::name::{FileName, MAX_STEM, PART, STATE};
use crate::pieces::Pieces;
use crate::saved;
use crate::sink::{Existing, FolderSink};
use crate::unfinished::NotOpened;

/// A file that is not whole yet. It is open for this worker alone: no other transfer writes to it.
pub(super) struct Part {
    open: Open,
    handle: FileSystemFileHandle,
    directory: FileSystemDirectoryHandle,
    name: FileName,
    existing: Existing,
    layout: Layout,
    /// What is there under the final name, of which pieces may be the same.
    basis: Option<Blob>,
    /// What an earlier transfer left may hold pieces that were not remembered.
    pub(super) looks: bool,
    buffer: Vec<u8>,
}

impl Part {
    /// Opens what an earlier transfer left, or begins; and says which pieces are there.
    pub(super) async fn open(
        sink: &FolderSink,
        name: &FileName,
        layout: Layout,
    ) -> Result<(Self, Pieces), NotOpened> {
        let refused = |status| NotOpened::Failed(TransferError::Here(status));
        let name = sink.name.clone().unwrap_or_else(|| name.clone());
        if name.as_str().len() > MAX_STEM {
            return Err(refused(BulkStatus::NAME));
        }
        let directory = sink.folder.clone();
        let [path, state] = [PART, STATE].map(|ending| format!("{name}{ending}"));
        let open = || TransferError::io("open the file to write");
        let there = match storage::find(&directory, name.as_str(), false).await {
            Ok(there) => Some(storage::content(&there).await.map_err(open())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // A folder is called so.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Err(refused(BulkStatus::EXISTS));
            }
            Err(error) => return Err(open()(error).into()),
        };
        if let Some(there) = &there
            && there.size() as u64 == layout.len()
            && let Ok(Some(found)) = HashList::of(there, layout.piece_len(), || true).await
            && found.layout.root() == layout.root()
        {
            // Whoever gave it its name may have had no time to tell, and to clear up.
            for left in [&path, &state] {
                storage::remove(&directory, left).await;
            }
            return Err(NotOpened::There(name.as_str().into()));
        }
        if there.is_some() && sink.existing == Existing::Refuse {
            return Err(refused(BulkStatus::EXISTS));
        }
        // Between the end of another's work at it and its name nobody opens it.
        let _lock = Lock::new().await;
        let handle = storage::find(&directory, &path, true).await.map_err(open())?;
        storage::check_rename(&handle).map_err(open())?;
        let file = match Open::new(&handle).await {
            Ok(file) => file,
            // In use, or it has got its name just now.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ResourceBusy | io::ErrorKind::NotFound
                ) =>
            {
                return Err(NotOpened::Busy);
            }
            Err(error) => return Err(open()(error).into()),
        };
        let before = file.len().map_err(TransferError::io("look at the file"))?;
        let have = load(&directory, &state, &layout).await;
        if have.is_none() {
            storage::remove(&directory, &state).await;
        }
        let basis = there.filter(|_| sink.existing == Existing::Replace).map(Blob::from);
        let part = Self {
            open: file,
            handle,
            directory,
            name,
            existing: sink.existing,
            layout,
            looks: basis.is_some() || before > 0,
            basis,
            buffer: Vec::new(),
        };
        if let Err(error) = part.take_room(before).await {
            if before == 0 {
                part.discard().await;
            }
            return Err(error.into());
        }
        // What is past its end was not written.
        let have = have.filter(|_| before == layout.len());
        Ok((part, have.unwrap_or_else(|| Pieces::none(layout.pieces()))))
    }

    /// Makes it as long as it will be, if this origin may store so much.
    async fn take_room(&self, before: u64) -> Result<(), TransferError> {
        let more = self.layout.len().saturating_sub(before);
        if storage::room().await.is_some_and(|room| room < more) {
            return Err(TransferError::Here(BulkStatus::NO_ROOM));
        }
        self.open.set_len(self.layout.len()).map_err(TransferError::io("set room aside"))
    }

    /// Writes a piece if it is what it has to be. Says whether it was.
    pub(super) fn write(&self, index: u32, hash: &Hash, bytes: &[u8]) -> io::Result<bool> {
        if hash_piece(&self.layout, index, bytes) != *hash {
            return Ok(false);
        }
        self.open.write_all_at(bytes, self.layout.offset(index))?;
        Ok(true)
    }

    /// Looks for a piece: in what an earlier transfer left, and in what is there under the final name.
    pub(super) async fn look(&mut self, index: u32, hash: &Hash) -> io::Result<bool> {
        let (offset, len) = (self.layout.offset(index), self.layout.len_of(index));
        self.buffer.resize(len, 0);
        let is_it = |bytes: &[u8]| hash_piece(&self.layout, index, bytes) == *hash;
        if self.open.read_exact_at(&mut self.buffer, offset).is_ok() && is_it(&self.buffer) {
            return Ok(true);
        }
        let Some(basis) = &self.basis else { return Ok(false) };
        let Ok(bytes) = blob::read(basis, offset, len as u64).await else { return Ok(false) };
        bytes.copy_to(&mut self.buffer);
        let found = is_it(&self.buffer);
        if found {
            self.open.write_all_at(&self.buffer, offset)?;
        }
        Ok(found)
    }

    /// Makes what is written safe, and remembers it.
    pub(super) async fn save(&self, have: &Pieces) -> io::Result<()> {
        self.open.sync()?;
        let name = format!("{}{STATE}", self.name);
        let state = Open::new(&storage::find(&self.directory, &name, true).await?).await?;
        let bytes = saved::write(&self.layout, have);
        // Half of it is known for that by its hash.
        state.set_len(bytes.len() as u64)?;
        state.write_all_at(&bytes, 0)?;
        state.sync()
    }

    /// Gives the whole file its name, when its bytes are safe.
    pub(super) async fn finish(self) -> Result<PathBuf, TransferError> {
        let Self { open, handle, directory, name, existing, .. } = self;
        open.sync().map_err(TransferError::io("sync the file"))?;
        let _lock = Lock::new().await;
        // One that is open keeps its name.
        drop(open);
        let target = match existing {
            Existing::Replace => name.as_str().to_owned(),
            Existing::Refuse | Existing::Rename => free_name(&directory, &name, existing).await?,
        };
        let renamed = storage::rename(&handle, &directory, &target).await;
        renamed.map_err(TransferError::io("give the file its name"))?;
        storage::remove(&directory, &format!("{name}{STATE}")).await;
        Ok(target.into())
    }

    /// Takes away what nobody can use.
    async fn discard(self) {
        let Self { open, directory, name, .. } = self;
        drop(open);
        for ending in [PART, STATE] {
            storage::remove(&directory, &format!("{name}{ending}")).await;
        }
    }
}

/// A name that no file has: the first that is free.
async fn free_name(
    directory: &FileSystemDirectoryHandle,
    name: &FileName,
    existing: Existing,
) -> Result<String, TransferError> {
    for number in 0..10_000_u32 {
        let target = name.numbered(number);
        match storage::find(directory, &target, false).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
            Err(error) if error.kind() != io::ErrorKind::IsADirectory => {
                return Err(TransferError::io("look for a free name")(error));
            }
            _ if existing == Existing::Refuse => break,
            _ => {}
        }
    }
    Err(TransferError::Here(BulkStatus::EXISTS))
}

/// What was remembered of this very file.
async fn load(
    directory: &FileSystemDirectoryHandle,
    state: &str,
    layout: &Layout,
) -> Option<Pieces> {
    let file = storage::find(directory, state, false).await.ok()?;
    let content = storage::content(&file).await.ok()?;
    let len = content.size() as u64;
    if len > saved::MAX_LEN {
        return None;
    }
    saved::read(&blob::read(&content, 0, len).await.ok()?.to_vec(), layout)
}
