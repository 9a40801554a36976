use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The 64 bytes in front of a batch.
///
/// ```text
///  0                                 4                 6                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | magic "DLB1"                      | version         | flags           |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | len                               | items                             |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | first                                                                 |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | written_at                                                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | segment                                                               |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | synced                                                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | table                             | body_crc                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | chain                             | header_crc                        |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BatchHeader {
    pub(crate) magic: [u8; 4],
    pub(crate) version: U16,
    pub(crate) flags: U16,
    /// Header, body and table, bytes; a multiple of 64.
    pub(crate) len: U32,
    /// Entries of the table.
    pub(crate) items: U32,
    /// Log position of the first item.
    pub(crate) first: U64,
    /// Microseconds since the Unix epoch, never less than in the batch before.
    pub(crate) written_at: U64,
    /// The segment that the batch was made for.
    pub(crate) segment: U64,
    /// Log position below which everything had been synced when the batch was made.
    pub(crate) synced: U64,
    /// Where the table begins, bytes from the batch's start.
    pub(crate) table: U32,
    /// CRC-32C of the bytes behind this header.
    pub(crate) body_crc: U32,
    /// `header_crc` of the batch before, over segments; 0 for a log's first.
    pub(crate) chain: U32,
    /// CRC-32C of the 60 bytes in front.
    pub(crate) header_crc: U32,
}

const _: () = {
    assert!(size_of::<BatchHeader>() == BatchHeader::SIZE);
    assert!(align_of::<BatchHeader>() == 1);
    assert!(offset_of!(BatchHeader, version) == 4);
    assert!(offset_of!(BatchHeader, flags) == 6);
    assert!(offset_of!(BatchHeader, len) == 8);
    assert!(offset_of!(BatchHeader, items) == 12);
    assert!(offset_of!(BatchHeader, first) == 16);
    assert!(offset_of!(BatchHeader, written_at) == 24);
    assert!(offset_of!(BatchHeader, segment) == 32);
    assert!(offset_of!(BatchHeader, synced) == 40);
    assert!(offset_of!(BatchHeader, table) == 48);
    assert!(offset_of!(BatchHeader, body_crc) == 52);
    assert!(offset_of!(BatchHeader, chain) == 56);
    assert!(offset_of!(BatchHeader, header_crc) == 60);
};

impl BatchHeader {
    pub(crate) const SIZE: usize = 64;
    pub(crate) const MAGIC: [u8; 4] = *b"DLB1";
    pub(crate) const VERSION: u16 = 1;

    /// The header with its own checksum filled in.
    pub(crate) fn sealed(mut self) -> Self {
        self.header_crc = U32::new(self.own_crc());
        self
    }

    pub(crate) fn own_crc(&self) -> u32 {
        crc32c::crc32c(self.as_bytes().get(..60).unwrap_or_default())
    }
}
