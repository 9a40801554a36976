use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ControlType;
use crate::error::{Expected, Field, Malformed, WriteError};

/// Longest reason of a close, bytes of UTF-8.
pub const MAX_REASON_LEN: usize = 256;

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u32);

impl CloseCode {
    /// The application is done.
    pub const NORMAL: Self = Self(0);
    /// The node is going away.
    pub const SHUTDOWN: Self = Self(1);
    /// The peer sent bytes that break the format.
    pub const MALFORMED: Self = Self(2);
    /// The peer sent a well-formed message where it has no place.
    pub const OUT_OF_PLACE: Self = Self(3);
    /// The peer sent more than its window allowed.
    pub const WINDOW_EXCEEDED: Self = Self(4);
    /// The peer went past another limit that the hello named.
    pub const LIMIT_EXCEEDED: Self = Self(5);
    /// The two have no version in common.
    pub const VERSION: Self = Self(6);
    /// Nothing was heard of the peer for too long.
    pub const TIMED_OUT: Self = Self(7);
    /// The two ends are set up for different delivery.
    pub const DELIVERY: Self = Self(8);
    /// The application failed: it dropped its peer while its thread panicked.
    pub const FAILED: Self = Self(9);
    /// This side had accepted a message that is longer than its peer takes.
    pub const UNDELIVERABLE: Self = Self(10);
    /// The session that the peer wanted to go on with is not there, or not for it.
    pub const NOT_RESUMED: Self = Self(11);
    /// The first of the application's own codes.
    pub const FIRST_APPLICATION: u32 = 256;

    /// Whether it says that an end could not go on: nothing more comes that would be worth waiting
    /// for.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self.0, 2..=8 | 10 | 11)
    }

    /// The code as this version reads it: one that is set aside for later versions counts as
    /// [`NORMAL`](Self::NORMAL), and is answered as such.
    #[must_use]
    pub const fn known(self) -> Self {
        match self.0 {
            12..Self::FIRST_APPLICATION => Self::NORMAL,
            _ => self,
        }
    }
}

/// What a close says besides its code. Bits that a reader does not know are ignored.
///
/// Only for a peer whose hello has [`HelloFields::CLOSING`](super::HelloFields::CLOSING) among its
/// features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseFlags(pub u16);

impl CloseFlags {
    /// It answers the peer's close.
    pub const ANSWER: Self = Self(1);
    /// The sender's application is gone: it reads nothing more.
    pub const UNREAD: Self = Self(2);
    /// Not everything came that the peer had sent before its close.
    pub const MISSING: Self = Self(4);
    /// In an answer: its sender has closed the session too, with a close that may still be on its way.
    pub const CROSSED: Self = Self(8);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits, and those of `other` if `condition` holds.
    #[must_use]
    pub const fn with(self, other: Self, condition: bool) -> Self {
        if condition { Self(self.0 | other.0) } else { self }
    }
}

/// What a close begins with. 8 bytes; the reason follows.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | control_type 5  | flags           | code                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | reason: UTF-8, 0 to 256 bytes, not terminated                         |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
struct CloseHeader {
    control_type: U16,
    flags: U16,
    code: U32,
}

const HEADER: usize = size_of::<CloseHeader>();

const _: () = {
    assert!(size_of::<CloseHeader>() == 8);
    assert!(align_of::<CloseHeader>() == 1);
    assert!(offset_of!(CloseHeader, control_type) == 0);
    assert!(offset_of!(CloseHeader, flags) == 2);
    assert!(offset_of!(CloseHeader, code) == 4);
};

/// The last frame each way: a code, and a reason for people to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    code: CloseCode,
    flags: CloseFlags,
    reason: &'a str,
}

impl<'a> Close<'a> {
    /// A close. A reason of more than [`MAX_REASON_LEN`] bytes is cut at the last whole character
    /// that fits.
    #[must_use]
    pub fn new(code: CloseCode, reason: &'a str) -> Self {
        let cut = reason.floor_char_boundary(MAX_REASON_LEN);
        let reason = reason.get(..cut).unwrap_or_default();
        Self { code, flags: CloseFlags::default(), reason }
    }

    /// The same with these flags.
    #[must_use]
    pub const fn with_flags(self, flags: CloseFlags) -> Self {
        Self { flags, ..self }
    }

    /// Writes the message's body to the start of `body`; returns its length.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`] when it has no room for it; 264 bytes always do.
    pub fn write(&self, body: &mut [u8]) -> Result<usize, WriteError> {
        let len = HEADER + self.reason.len();
        let available = body.len() as u64;
        let Some((header, reason)) =
            body.get_mut(..len).and_then(|body| body.split_at_mut_checked(HEADER))
        else {
            return Err(WriteError::BufferTooSmall { needed: len as u64, available });
        };
        let fields = CloseHeader {
            control_type: ControlType::Close.to_wire(),
            flags: U16::new(self.flags.0),
            code: U32::new(self.code.0),
        };
        header.copy_from_slice(fields.as_bytes());
        reason.copy_from_slice(self.reason.as_bytes());
        Ok(len)
    }

    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let Ok((header, reason)) = CloseHeader::ref_from_prefix(body) else {
            let expected = Expected::AtLeast(HEADER as u64);
            return Err(Malformed::new(Field::Length, body.len() as u64, expected));
        };
        if reason.len() > MAX_REASON_LEN {
            let expected = Expected::AtMost((HEADER + MAX_REASON_LEN) as u64);
            return Err(Malformed::new(Field::Length, body.len() as u64, expected));
        }
        let reason = core::str::from_utf8(reason).map_err(|error| {
            let expected = Expected::That("is where the reason stops being UTF-8");
            Malformed::new(Field::Reason, error.valid_up_to() as u64, expected)
        })?;
        let (code, flags) = (CloseCode(header.code.get()), CloseFlags(header.flags.get()));
        Ok(Self { code, flags, reason })
    }

    /// What it says besides.
    #[must_use]
    pub const fn flags(&self) -> CloseFlags {
        self.flags
    }

    /// Why.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        self.code
    }

    /// The same, for people to read. May be empty.
    #[must_use]
    pub const fn reason(&self) -> &'a str {
        self.reason
    }
}
