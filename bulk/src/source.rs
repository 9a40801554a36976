//! Where a file comes from.

#[cfg(all(feature = "files", unix))]
use std::path::PathBuf;

use bytes::Bytes;

use crate::hashing::{Hash, hash_piece, merge, merge_group};
use crate::layout::{Layout, LayoutError};

/// Where a file comes from.
#[derive(Clone, Debug)]
pub struct Source(pub(crate) SourceKind);

#[derive(Clone, Debug)]
pub(crate) enum SourceKind {
    Memory(Bytes),
    #[cfg(all(feature = "files", unix))]
    File(PathBuf),
    #[cfg(all(feature = "files", target_arch = "wasm32"))]
    Blob(web_sys::Blob),
}

impl Source {
    /// Memory, which is kept until the transfer is over.
    #[must_use]
    pub fn memory(bytes: impl Into<Bytes>) -> Self {
        Self(SourceKind::Memory(bytes.into()))
    }

    /// A file, which is read as it is asked for. One that changes meanwhile ends the transfer.
    #[cfg(all(feature = "files", unix))]
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(SourceKind::File(path.into()))
    }

    /// A blob, or a file that a page's user has chosen, or one of the origin's own file system: read as it is asked for. One
    /// that changes meanwhile ends the transfer.
    #[cfg(all(feature = "files", target_arch = "wasm32"))]
    #[must_use]
    pub fn blob(blob: impl Into<web_sys::Blob>) -> Self {
        Self(SourceKind::Blob(blob.into()))
    }
}

/// Bytes in memory with the hashes of their pieces, 32 bytes each.
#[derive(Debug)]
pub(crate) struct InMemory {
    bytes: Bytes,
    layout: Layout,
    hashes: Vec<Hash>,
}

impl InMemory {
    pub(crate) fn new(bytes: Bytes, piece_len: u32) -> Result<Self, LayoutError> {
        let root = *blake3::hash(&bytes).as_bytes();
        let layout = Layout::new(bytes.len() as u64, root, piece_len)?;
        let mut memory = Self { bytes, layout, hashes: Vec::new() };
        let pieces = 0..layout.pieces();
        memory.hashes = pieces.map(|it| hash_piece(&layout, it, memory.piece(it))).collect();
        Ok(memory)
    }

    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn piece(&self, index: u32) -> &[u8] {
        // It is in memory, so it fits.
        let start = self.layout.offset(index) as usize;
        self.bytes.get(start..start + self.layout.len_of(index)).unwrap_or_default()
    }

    pub(crate) fn piece_hashes(&self, group: u32) -> &[Hash] {
        let pieces = self.layout.pieces_of(group);
        self.hashes.get(pieces.start as usize..pieces.end as usize).unwrap_or_default()
    }

    pub(crate) fn group_hashes(&self) -> Vec<Hash> {
        (0..self.layout.groups())
            .map(|group| merge_group(&self.layout, self.piece_hashes(group)))
            .collect()
    }
}

/// The hash of a file, of those of its groups.
#[cfg_attr(not(feature = "files"), allow(dead_code))]
pub(crate) fn root_of(groups: &[Hash]) -> Hash {
    merge(groups, true)
}
