use core::mem::size_of;

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BulkType, MAX_PIECE_LEN, MAX_PIECES, Wanted, check_reserved, too_short};
use crate::error::{Expected, Field, Malformed};

/// Bytes of a hash.
pub const HASH_LEN: usize = 32;

/// How many hashes a message has at most: those of all groups.
const MAX_HASHES: u32 = MAX_PIECES / super::GROUP;

/// Stands in front of the bytes of a piece. 16 bytes, so that the piece lies as its message does.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bulk_type 4     | reserved        | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | index                             | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bytes                                               1 to 65,536 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Piece {
    bulk_type: U16,
    reserved: U16,
    id: U32,
    index: U32,
    reserved_index: U32,
}

const _: () = assert!(size_of::<Piece>() == Piece::SIZE && align_of::<Piece>() == 1);

impl Piece {
    /// Bytes in front of those of the piece.
    pub const SIZE: usize = 16;

    /// Stands in front of the piece with this index, of the offer `id`.
    #[must_use]
    pub fn new(id: u32, index: u32) -> Self {
        Self {
            bulk_type: BulkType::Piece.to_wire(),
            reserved: U16::ZERO,
            id: U32::new(id),
            index: U32::new(index),
            reserved_index: U32::ZERO,
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<(&Self, &[u8]), Malformed> {
        let (message, bytes) =
            Self::ref_from_prefix(body).map_err(|_| too_short(body.len(), Self::SIZE + 1))?;
        check_reserved(message.reserved.get())?;
        let index = message.index.get();
        if index >= MAX_PIECES {
            let expected = Expected::Below(u64::from(MAX_PIECES));
            return Err(Malformed::new(Field::Index, u64::from(index), expected));
        }
        check_reserved(message.reserved_index.get())?;
        if bytes.is_empty() {
            return Err(too_short(body.len(), Self::SIZE + 1));
        }
        let most = Self::SIZE + MAX_PIECE_LEN as usize;
        if body.len() > most {
            let expected = Expected::AtMost(most as u64);
            return Err(Malformed::new(Field::Length, body.len() as u64, expected));
        }
        Ok((message, bytes))
    }

    /// The offer.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.get()
    }

    /// Which piece it is.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index.get()
    }
}

/// Stands in front of hashes of pieces, or of groups of them. 16 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bulk_type 5     | wanted |reserved| id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | first                             | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | hashes                                                  32 bytes each |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Hashes {
    bulk_type: U16,
    wanted: u8,
    reserved: u8,
    id: U32,
    first: U32,
    reserved_first: U32,
}

const _: () = assert!(size_of::<Hashes>() == Hashes::SIZE && align_of::<Hashes>() == 1);

impl Hashes {
    /// Bytes in front of the hashes.
    pub const SIZE: usize = 16;

    /// Stands in front of the hashes of the pieces of the group `first`, or of all groups, of which `first` is 0.
    #[must_use]
    pub fn new(id: u32, wanted: Wanted, first: u32) -> Self {
        Self {
            bulk_type: BulkType::Hashes.to_wire(),
            wanted: wanted as u8,
            reserved: 0,
            id: U32::new(id),
            first: U32::new(first),
            reserved_first: U32::ZERO,
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<(&Self, &[[u8; HASH_LEN]]), Malformed> {
        let least = Self::SIZE + HASH_LEN;
        let (message, bytes) =
            Self::ref_from_prefix(body).map_err(|_| too_short(body.len(), least))?;
        if !(Wanted::PieceHashes as u8..=Wanted::GroupHashes as u8).contains(&message.wanted) {
            let expected = Expected::OneOf("1 (hashes of pieces), 2 (hashes of groups)");
            return Err(Malformed::new(Field::What, u64::from(message.wanted), expected));
        }
        check_reserved(message.reserved)?;
        if message.first.get() >= MAX_HASHES {
            let expected = Expected::Below(u64::from(MAX_HASHES));
            return Err(Malformed::new(Field::First, u64::from(message.first.get()), expected));
        }
        check_reserved(message.reserved_first.get())?;
        let most = Self::SIZE + HASH_LEN * MAX_HASHES as usize;
        match <[[u8; HASH_LEN]]>::ref_from_bytes(bytes) {
            Ok([]) => Err(too_short(body.len(), least)),
            Ok(hashes) if body.len() <= most => Ok((message, hashes)),
            Ok(_) => {
                let expected = Expected::AtMost(most as u64);
                Err(Malformed::new(Field::Length, body.len() as u64, expected))
            }
            Err(_) => {
                let expected = Expected::That("must be 16 and a multiple of 32");
                Err(Malformed::new(Field::Length, body.len() as u64, expected))
            }
        }
    }

    /// The offer.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.get()
    }

    /// Of what they are: never [`Wanted::Pieces`].
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        if self.wanted == 1 { Wanted::PieceHashes } else { Wanted::GroupHashes }
    }

    /// Which group's pieces they are of.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.first.get()
    }
}
