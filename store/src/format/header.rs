use core::mem::{offset_of, size_of};

use crate::position::{Epoch, LogPosition};
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
    /// Of batches from which items were left out: which are left is said behind the table.
    pub(crate) const COMPACTED: u16 = 2;

    /// The header with its own checksum filled in.
    pub(crate) fn sealed(mut self) -> Self {
        self.header_crc = U32::new(self.own_crc());
        self
    }

    pub(crate) fn own_crc(&self) -> u32 {
        crc32c::crc32c(self.as_bytes().get(..60).unwrap_or_default())
    }
}

/// The 64 bytes in front of a segment.
///
/// ```text
///  0                                 4                 6                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | magic "DLS1"                      | version         | flags           |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | segment                                                               |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | first                                                                 |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | created_at                                                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | chain                             | epoch                             |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | shard                             | synced                            |
/// +--------+--------+--------+--------+                                   +
/// |                                   | behind                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | batches                           | header_crc                        |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    pub(crate) magic: [u8; 4],
    pub(crate) version: U16,
    pub(crate) flags: U16,
    /// Its number, and its file's name.
    pub(crate) segment: U64,
    /// Log position of the first item.
    pub(crate) first: U64,
    /// Microseconds since the Unix epoch.
    pub(crate) created_at: U64,
    /// `header_crc` of the last batch of the segment before; 0 for a log's first.
    pub(crate) chain: U32,
    /// Of documents that were made in the log then.
    pub(crate) epoch: U32,
    pub(crate) shard: U32,
    /// Log position below which everything had been synced when the segment was made; of a compacted one, behind all that
    /// it stands for.
    pub(crate) synced: U64,
    /// Of a compacted segment: `header_crc` of the last batch of those that it stands for; else 0.
    pub(crate) behind: U32,
    /// Of a compacted segment: how many batches it has; else 0.
    pub(crate) batches: U32,
    /// CRC-32C of the 60 bytes in front.
    pub(crate) header_crc: U32,
}

const _: () = {
    assert!(size_of::<SegmentHeader>() == SegmentHeader::SIZE);
    assert!(align_of::<SegmentHeader>() == 1);
    assert!(offset_of!(SegmentHeader, segment) == 8);
    assert!(offset_of!(SegmentHeader, first) == 16);
    assert!(offset_of!(SegmentHeader, created_at) == 24);
    assert!(offset_of!(SegmentHeader, chain) == 32);
    assert!(offset_of!(SegmentHeader, epoch) == 36);
    assert!(offset_of!(SegmentHeader, shard) == 40);
    assert!(offset_of!(SegmentHeader, synced) == 44);
    assert!(offset_of!(SegmentHeader, behind) == 52);
    assert!(offset_of!(SegmentHeader, batches) == 56);
    assert!(offset_of!(SegmentHeader, header_crc) == 60);
};

impl SegmentHeader {
    pub(crate) const SIZE: usize = 64;
    pub(crate) const MAGIC: [u8; 4] = *b"DLS1";
    pub(crate) const VERSION: u16 = 1;
    /// Of one that stands for itself and others, with what was still needed of them.
    pub(crate) const COMPACTED: u16 = 2;

    pub(crate) fn new(
        segment: u64,
        first: LogPosition,
        created_at: u64,
        chain: u32,
        epoch: Epoch,
        shard: u32,
    ) -> Self {
        let mut header = Self {
            magic: Self::MAGIC,
            version: U16::new(Self::VERSION),
            flags: U16::ZERO,
            segment: U64::new(segment),
            first: U64::new(first.0),
            created_at: U64::new(created_at),
            chain: U32::new(chain),
            epoch: U32::new(epoch.0),
            shard: U32::new(shard),
            synced: U64::ZERO,
            behind: U32::ZERO,
            batches: U32::ZERO,
            header_crc: U32::ZERO,
        };
        header.header_crc = U32::new(header.own_crc());
        header
    }

    /// Whether two headers are of one segment: number, place in the log, when and in which log it was made.
    #[cfg(feature = "object-store")]
    pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
        let identity = offset_of!(Self, segment)..offset_of!(Self, synced);
        let (one, other) = (one.get(identity.clone()), other.get(identity));
        one.is_some() && one == other
    }

    /// The same, for a segment that is made when everything below `synced` is.
    pub(crate) fn made(mut self, synced: LogPosition) -> Self {
        self.synced = U64::new(synced.0);
        self.header_crc = U32::new(self.own_crc());
        self
    }

    pub(crate) fn own_crc(&self) -> u32 {
        crc32c::crc32c(self.as_bytes().get(..60).unwrap_or_default())
    }
}

/// What the header of a compacted segment says beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// Log position behind all that it stands for.
    pub(crate) end: LogPosition,
    /// `header_crc` of the last batch of those that it stands for.
    pub(crate) behind: u32,
    /// How many batches it has.
    pub(crate) batches: u32,
}

impl SegmentHeader {
    /// What it says as that of a compacted segment; `None` if it is of another.
    pub(crate) fn compacted(&self) -> Option<Compacted> {
        (self.version.get() == Self::COMPACTED).then(|| Compacted {
            end: LogPosition(self.synced.get()),
            behind: self.behind.get(),
            batches: self.batches.get(),
        })
    }

    /// That of the segment which stands for this one and those behind it.
    pub(crate) fn standing_for(mut self, compacted: Compacted) -> Self {
        self.version = U16::new(Self::COMPACTED);
        self.synced = U64::new(compacted.end.0);
        self.behind = U32::new(compacted.behind);
        self.batches = U32::new(compacted.batches);
        self.header_crc = U32::new(self.own_crc());
        self
    }
}
