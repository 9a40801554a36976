use core::fmt;
use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Expected, Field, WriteError};

/// Which document a delta belongs to: the 16 bytes of a UUID, in the order they are written in.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct DocId(pub [u8; 16]);

impl fmt::Display for DocId {
    /// As a UUID: `00112233-4455-6677-8899-aabbccddeeff`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a delta's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeltaType(u16);

impl DeltaType {
    /// What the wire says, also where it is reserved.
    pub(crate) const fn of_wire(value: u16) -> Self {
        Self(value)
    }

    /// Bytes that only the application understands.
    pub const OPAQUE: Self = Self(0);
    /// A list of [operations](crate::operations).
    pub const OPERATIONS: Self = Self(1);
    /// Whole deltas of the same document, one behind the other at multiples of 16: all of them happen, or none.
    pub const GROUP: Self = Self(2);
    /// A [snapshot](crate::documents::SnapshotHeader): what a document is after the deltas that it covers.
    pub const SNAPSHOT: Self = Self(3);
    /// What its writer says of itself to those who look at the document, and nobody keeps.
    pub const PRESENCE: Self = Self(4);
    /// The first of the application's own types; they end with [`u16::MAX`].
    pub const FIRST_APPLICATION: u16 = 256;

    /// A type of the application's own.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] below [`FIRST_APPLICATION`](Self::FIRST_APPLICATION): those belong
    /// to the format.
    pub const fn application(value: u16) -> Result<Self, WriteError> {
        if value < Self::FIRST_APPLICATION {
            let expected = Expected::AtLeast(Self::FIRST_APPLICATION as u64);
            return Err(WriteError::invalid(Field::DeltaType, value as u64, expected));
        }
        Ok(Self(value))
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether this is a number that version 1 keeps for later versions. Such a delta can be
    /// stored and forwarded, only its payload is not understood.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 > Self::PRESENCE.0 && self.0 < Self::FIRST_APPLICATION
    }
}

/// The 48 bytes in front of a delta's payload.
///
/// ```text
///  0                                 4                 6                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | magic "DLT1"                      | version         | delta_type      |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | flags           | reserved        | total_size                        |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | doc_id                                                                |
/// +                                                                       +
/// |                                                                       |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | timestamp                                                             |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | checksum                          | sequence                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
///  40                                44                                48
/// ```
///
/// Integers are little-endian, alignment is 1. A header that a [`Delta`](crate::Delta) hands out
/// has been checked.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DeltaHeader {
    pub(super) magic: [u8; 4],
    pub(super) version: U16,
    pub(super) delta_type: U16,
    pub(super) flags: U16,
    pub(super) reserved: U16,
    pub(super) total_size: U32,
    pub(super) doc_id: DocId,
    pub(super) timestamp: U64,
    pub(super) checksum: U32,
    pub(super) sequence: U32,
}

const _: () = {
    assert!(size_of::<DeltaHeader>() == DeltaHeader::SIZE);
    assert!(align_of::<DeltaHeader>() == 1);
    assert!(offset_of!(DeltaHeader, magic) == 0);
    assert!(offset_of!(DeltaHeader, version) == 4);
    assert!(offset_of!(DeltaHeader, delta_type) == 6);
    assert!(offset_of!(DeltaHeader, flags) == 8);
    assert!(offset_of!(DeltaHeader, reserved) == 10);
    assert!(offset_of!(DeltaHeader, total_size) == 12);
    assert!(offset_of!(DeltaHeader, doc_id) == 16);
    assert!(offset_of!(DeltaHeader, timestamp) == 32);
    assert!(offset_of!(DeltaHeader, checksum) == 40);
    assert!(offset_of!(DeltaHeader, sequence) == 44);
};

impl DeltaHeader {
    /// Bytes of a header.
    pub const SIZE: usize = 48;
    /// The first four bytes of every delta.
    pub const MAGIC: [u8; 4] = *b"DLT1";
    /// The version that is written, and the only one that is read.
    pub const VERSION: u16 = 1;
    /// Flag bit 0: `checksum` holds a CRC-32C.
    pub const FLAG_CHECKSUM: u16 = 1;
    /// Longest payload: what `total_size` can say.
    pub const MAX_PAYLOAD_LEN: usize = u32::MAX as usize - Self::SIZE;

    /// What the payload is.
    #[must_use]
    #[inline]
    pub const fn delta_type(&self) -> DeltaType {
        DeltaType(self.delta_type.get())
    }

    /// All flag bits, those that version 1 does not know included.
    #[must_use]
    #[inline]
    pub const fn flags(&self) -> u16 {
        self.flags.get()
    }

    /// Whether `checksum` holds a CRC-32C.
    #[must_use]
    #[inline]
    pub const fn has_checksum(&self) -> bool {
        self.flags.get() & Self::FLAG_CHECKSUM != 0
    }

    /// Header and payload, bytes.
    #[must_use]
    #[inline]
    pub const fn total_size(&self) -> u32 {
        self.total_size.get()
    }

    /// The document.
    #[must_use]
    #[inline]
    pub const fn doc_id(&self) -> DocId {
        self.doc_id
    }

    /// Microseconds since the Unix epoch, by the writer's clock.
    #[must_use]
    #[inline]
    pub const fn timestamp(&self) -> u64 {
        self.timestamp.get()
    }

    /// CRC-32C of header (this field taken as 0) and payload; 0 without the flag.
    #[must_use]
    #[inline]
    pub const fn checksum(&self) -> u32 {
        self.checksum.get()
    }

    /// The writer's counter for this document, wrapping.
    #[must_use]
    #[inline]
    pub const fn sequence(&self) -> u32 {
        self.sequence.get()
    }
}
