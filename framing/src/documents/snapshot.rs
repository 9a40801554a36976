use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::check_reserved;
use crate::error::{Expected, Field, Malformed};

/// What the payload of a [snapshot](crate::DeltaType::SNAPSHOT) begins with; the document's state follows.
/// 16 bytes.
///
/// ```text
///  0                                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | covers                                                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | epoch                             | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct SnapshotHeader {
    covers: U64,
    epoch: U32,
    reserved: U32,
}

const _: () = {
    assert!(size_of::<SnapshotHeader>() == SnapshotHeader::SIZE);
    assert!(align_of::<SnapshotHeader>() == 1);
    assert!(offset_of!(SnapshotHeader, epoch) == 8);
};

impl SnapshotHeader {
    /// Bytes of a header.
    pub const SIZE: usize = 16;

    /// A snapshot of what the document is after the delta at position `covers`, counted in `epoch`.
    #[must_use]
    pub fn new(epoch: u32, covers: u64) -> Self {
        Self { covers: U64::new(covers.max(1)), epoch: U32::new(epoch), reserved: U32::ZERO }
    }

    /// Sees the header that a snapshot's payload begins with, and the state behind it.
    ///
    /// # Errors
    /// Names the field that breaks a rule.
    pub fn parse(payload: &[u8]) -> Result<(&Self, &[u8]), Malformed> {
        let Ok((header, state)) = Self::ref_from_prefix(payload) else {
            let expected = Expected::AtLeast(Self::SIZE as u64);
            return Err(Malformed::new(Field::Length, payload.len() as u64, expected));
        };
        if header.covers.get() == 0 {
            return Err(Malformed::new(Field::Position, 0, Expected::AtLeast(1)));
        }
        check_reserved(header.reserved.get())?;
        Ok((header, state))
    }

    /// The position of the last delta that the state comprises.
    #[must_use]
    pub fn covers(&self) -> u64 {
        self.covers.get()
    }

    /// The epoch that it is counted in.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch.get()
    }
}
