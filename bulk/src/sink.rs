//! Where a file goes to.

#[cfg(all(feature = "files", unix))]
use std::path::PathBuf;

#[cfg(all(feature = "files", target_arch = "wasm32"))]
use web_sys::FileSystemDirectoryHandle;

#[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
use crate::name::FileName;

#[cfg(all(feature = "files", unix))]
type Folder = PathBuf;
#[cfg(all(feature = "files", target_arch = "wasm32"))]
type Folder = FileSystemDirectoryHandle;

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Existing {
    /// It stays, and the transfer is refused before its first byte.
    #[default]
    Refuse,
    /// It stays, and the new one is called `name (1).ext`, or the next number that is free.
    Rename,
    /// The new one takes its place, in one step, when it is whole. Pieces that are the same are taken from it.
    Replace,
}

/// Where a file goes to.
#[derive(Clone, Debug)]
pub struct Sink(pub(crate) SinkKind);

#[derive(Clone, Debug)]
pub(crate) enum SinkKind {
    Memory {
        max: usize,
    },
    #[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
    Folder(FolderSink),
}

#[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
#[derive(Clone, Debug)]
pub(crate) struct FolderSink {
    pub(crate) folder: Folder,
    pub(crate) existing: Existing,
    pub(crate) name: Option<FileName>,
    #[cfg(unix)]
    pub(crate) keep_modified: bool,
}

impl Sink {
    /// Memory: a file of at most `max` bytes. What comes before an interruption is not kept.
    #[must_use]
    pub const fn memory(max: usize) -> Self {
        Self(SinkKind::Memory { max })
    }

    /// A folder that is there. Until the file is whole it is called `name.part`, beside which `name.part-state` says which
    /// pieces are there: a later transfer of the same file goes on with them.
    #[cfg(all(feature = "files", unix))]
    #[must_use]
    pub fn folder(folder: impl Into<PathBuf>, existing: Existing) -> Self {
        let folder = folder.into();
        let sink = FolderSink { folder, existing, name: None, keep_modified: false };
        Self(SinkKind::Folder(sink))
    }

    /// A folder of the origin's own file system, in a dedicated worker: of `navigator.storage.getDirectory()`. Until the file is
    /// whole it is called `name.part`, beside which `name.part-state` says which pieces are there: a later transfer of the
    /// same file goes on with them. The file that is there in the end is a `Blob` by `FileSystemFileHandle.getFile()`.
    #[cfg(all(feature = "files", target_arch = "wasm32"))]
    #[must_use]
    pub const fn folder(folder: FileSystemDirectoryHandle, existing: Existing) -> Self {
        Self(SinkKind::Folder(FolderSink { folder, existing, name: None }))
    }

    /// Has the file get this name in place of the one that it is offered by.
    #[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
    #[must_use]
    pub fn named(mut self, name: FileName) -> Self {
        if let SinkKind::Folder(folder) = &mut self.0 {
            folder.name = Some(name);
        }
        self
    }

    /// Has the file get the time of its last change that the peer tells.
    #[cfg(all(feature = "files", unix))]
    #[must_use]
    pub fn keep_modified(mut self) -> Self {
        if let SinkKind::Folder(folder) = &mut self.0 {
            folder.keep_modified = true;
        }
        self
    }
}
