//! What is remembered of a file that is not whole: which of its pieces are safe.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::layout::Layout;
use crate::pieces::Pieces;

/// What it begins with; the pieces' bits follow, and the BLAKE3 of all that.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    len: U64,
    root: [u8; 32],
    piece_len: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<Header>() == 56);

const MAGIC: [u8; 8] = *b"DLBULK1\n";

/// The longest: 2¹⁹ bits, and what stands around them.
pub(crate) const MAX_LEN: u64 = (1 << 16) + 56 + 32;

/// What is kept beside the file.
pub(crate) fn write(layout: &Layout, have: &Pieces) -> Vec<u8> {
    let header = Header {
        magic: MAGIC,
        len: U64::new(layout.len()),
        root: *layout.root(),
        piece_len: U32::new(layout.piece_len()),
        reserved: U32::ZERO,
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(have.to_bytes());
    let hash = *blake3::hash(&bytes).as_bytes();
    bytes.extend(hash);
    bytes
}

/// What was remembered of this very file; `None` if nothing, or of another.
pub(crate) fn read(bytes: &[u8], layout: &Layout) -> Option<Pieces> {
    let (content, hash) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(content).as_bytes() != hash {
        return None;
    }
    let (header, bits) = Header::ref_from_prefix(content).ok()?;
    let same = header.magic == MAGIC
        && header.len.get() == layout.len()
        && header.root == *layout.root()
        && header.piece_len.get() == layout.piece_len();
    same.then(|| Pieces::of_bytes(bits, layout.pieces())).flatten()
}
