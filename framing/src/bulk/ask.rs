use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BulkType, MAX_PIECES, check_reserved, wrong_length};
use crate::error::{Expected, Field, Malformed};

/// What an [`Ask`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Wanted {
    /// Pieces of the file, each in a message of its own.
    Pieces = 0,
    /// Hashes of the pieces of groups, those of each group in a message.
    PieceHashes = 1,
    /// Hashes of all groups, in one message.
    GroupHashes = 2,
}

/// What an [`Ask`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskFields {
    /// Of which offer.
    pub id: u32,
    /// What is wanted.
    pub wanted: Wanted,
    /// The first of them.
    pub first: u32,
    /// How many; at least 1.
    pub count: u32,
    /// Bytes of the file that its receiver has checked and written by now, since the file began.
    pub written: u64,
}

/// Asks for parts of a file. 24 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bulk_type 3     | wanted |reserved| id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | first                             | count                             |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | written                                                               |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Ask {
    bulk_type: U16,
    wanted: u8,
    reserved: u8,
    id: U32,
    first: U32,
    count: U32,
    written: U64,
}

const _: () = {
    assert!(size_of::<Ask>() == 24 && align_of::<Ask>() == 1);
    assert!(offset_of!(Ask, first) == 8);
    assert!(offset_of!(Ask, written) == 16);
};

impl Ask {
    /// Asks for so much. A `count` of 0 becomes 1.
    #[must_use]
    pub fn new(fields: AskFields) -> Self {
        Self {
            bulk_type: BulkType::Ask.to_wire(),
            wanted: fields.wanted as u8,
            reserved: 0,
            id: U32::new(fields.id),
            first: U32::new(fields.first),
            count: U32::new(fields.count.max(1)),
            written: U64::new(fields.written),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        if message.wanted > Wanted::GroupHashes as u8 {
            let expected =
                Expected::OneOf("0 (pieces), 1 (hashes of pieces), 2 (hashes of groups)");
            return Err(Malformed::new(Field::What, u64::from(message.wanted), expected));
        }
        check_reserved(message.reserved)?;
        let (first, count) = (message.first.get(), message.count.get());
        if first >= MAX_PIECES {
            let expected = Expected::Below(u64::from(MAX_PIECES));
            return Err(Malformed::new(Field::First, u64::from(first), expected));
        }
        if count == 0 {
            return Err(Malformed::new(Field::Count, 0, Expected::AtLeast(1)));
        }
        if count > MAX_PIECES - first {
            let expected = Expected::AtMost(u64::from(MAX_PIECES - first));
            return Err(Malformed::new(Field::Count, u64::from(count), expected));
        }
        Ok(message)
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> AskFields {
        AskFields {
            id: self.id.get(),
            wanted: match self.wanted {
                0 => Wanted::Pieces,
                1 => Wanted::PieceHashes,
                _ => Wanted::GroupHashes,
            },
            first: self.first.get(),
            count: self.count.get(),
            written: self.written.get(),
        }
    }
}
