//! How a file is cut: into pieces, and these into groups.

use core::ops::Range;

use deltawire_framing::bulk::{GROUP, MAX_PIECE_LEN, MAX_PIECES, MIN_PIECE_LEN};

use crate::hashing::Hash;

/// A file's length, its hash, and how it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    len: u64,
    root: Hash,
    piece_len: u32,
}

/// A file that cannot be cut so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{len} bytes cannot be cut into at most 524288 pieces of {piece_len} bytes: that is a power of two from 1 KiB to 64 KiB"
)]
pub struct LayoutError {
    /// Bytes of the file.
    pub len: u64,
    /// Bytes of a piece.
    pub piece_len: u32,
}

impl Layout {
    /// A file of `len` bytes with this hash, in pieces of so many bytes, a power of two from 1 KiB to 64 KiB.
    ///
    /// # Errors
    /// When there would be more than 2¹⁹ pieces, or they would be too long.
    pub fn new(len: u64, root: Hash, piece_len: u32) -> Result<Self, LayoutError> {
        let valid = piece_len.is_power_of_two()
            && (MIN_PIECE_LEN..=MAX_PIECE_LEN).contains(&piece_len)
            && len <= u64::from(MAX_PIECES) * u64::from(piece_len);
        if valid { Ok(Self { len, root, piece_len }) } else { Err(LayoutError { len, piece_len }) }
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// BLAKE3 of the file.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// Bytes of each piece but the last.
    #[must_use]
    pub const fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// How many pieces there are; none of an empty file.
    #[must_use]
    pub const fn pieces(&self) -> u32 {
        // At most 2¹⁹.
        self.len.div_ceil(self.piece_len as u64) as u32
    }

    /// Where a piece begins.
    #[must_use]
    pub const fn offset(&self, index: u32) -> u64 {
        index as u64 * self.piece_len as u64
    }

    /// Bytes of a piece; 0 behind the last.
    #[must_use]
    pub fn len_of(&self, index: u32) -> usize {
        let left = self.len.saturating_sub(self.offset(index));
        // At most 64 KiB.
        left.min(u64::from(self.piece_len)) as usize
    }

    /// How many groups there are.
    #[must_use]
    pub const fn groups(&self) -> u32 {
        self.pieces().div_ceil(GROUP)
    }

    /// The pieces of a group.
    #[must_use]
    pub fn pieces_of(&self, group: u32) -> Range<u32> {
        let first = group.saturating_mul(GROUP).min(self.pieces());
        first..first.saturating_add(GROUP).min(self.pieces())
    }
}
