use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ControlType, check_reserved, wrong_length};
use crate::error::Malformed;

/// Asks for a [`Pong`] with the same `id` and `sent_at`. 16 bytes.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | control_type 3  | reserved        | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | sent_at                                                               |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Ping {
    control_type: U16,
    reserved: U16,
    id: U32,
    sent_at: U64,
}

const _: () = {
    assert!(size_of::<Ping>() == 16);
    assert!(align_of::<Ping>() == 1);
    assert!(offset_of!(Ping, control_type) == 0);
    assert!(offset_of!(Ping, reserved) == 2);
    assert!(offset_of!(Ping, id) == 4);
    assert!(offset_of!(Ping, sent_at) == 8);
};

impl Ping {
    /// A ping; `sent_at` is in the sender's own clock and unit, and means nothing to its peer.
    #[must_use]
    pub const fn new(id: u32, sent_at: u64) -> Self {
        Self {
            control_type: ControlType::Ping.to_wire(),
            reserved: U16::ZERO,
            id: U32::new(id),
            sent_at: U64::new(sent_at),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let ping =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_reserved(ping.reserved)?;
        Ok(ping)
    }

    /// The sender's number for it.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id.get()
    }

    /// When it was sent, by the sender's clock.
    #[must_use]
    pub const fn sent_at(&self) -> u64 {
        self.sent_at.get()
    }
}

/// The answer to a [`Ping`]: the same 16 bytes under `control_type` 4.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct Pong(Ping);

impl Pong {
    /// The answer to `ping`.
    #[must_use]
    pub const fn to(ping: &Ping) -> Self {
        Self(Ping { control_type: ControlType::Pong.to_wire(), ..*ping })
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let pong =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_reserved(pong.0.reserved)?;
        Ok(pong)
    }

    /// The ping's number.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.0.id()
    }

    /// When the ping was sent, by the clock of who sent it.
    #[must_use]
    pub const fn sent_at(&self) -> u64 {
        self.0.sent_at()
    }
}
