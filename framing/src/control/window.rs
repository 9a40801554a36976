use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ControlType, check_reserved, wrong_length};
use crate::error::{Expected, Field, Malformed};
use crate::frame::Channel;

/// How much the receiver of this message may send on a channel by now: a cumulative limit, as in
/// QUIC's MAX_DATA (RFC 9000, section 19.9). 16 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | control_type 2  |channel |reserved| grown                             |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | limit                                                                 |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Window {
    control_type: U16,
    channel: u8,
    reserved: u8,
    grown: U32,
    limit: U64,
}

const _: () = {
    assert!(size_of::<Window>() == 16);
    assert!(align_of::<Window>() == 1);
    assert!(offset_of!(Window, control_type) == 0);
    assert!(offset_of!(Window, channel) == 2);
    assert!(offset_of!(Window, reserved) == 3);
    assert!(offset_of!(Window, grown) == 4);
    assert!(offset_of!(Window, limit) == 8);
};

impl Window {
    /// `limit` bytes may be sent on `channel`, counted since the session began. A message counts
    /// with its frame's length, rounded up to 16, as if it were not fragmented.
    #[must_use]
    pub const fn new(channel: Channel, limit: u64) -> Self {
        Self {
            control_type: ControlType::Window.to_wire(),
            channel: channel as u8,
            reserved: 0,
            grown: U32::ZERO,
            limit: U64::new(limit),
        }
    }

    /// The same, where `grown` bytes of the limit are not there because something was read, but because the
    /// window has grown since the hello. Only for a peer whose hello has
    /// [`HelloFields::GROWING`](super::HelloFields::GROWING) among its features.
    #[must_use]
    pub const fn with_grown(self, grown: u32) -> Self {
        Self { grown: U32::new(grown), ..self }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let window =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_channel(window.channel)?;
        check_reserved(window.reserved)?;
        Ok(window)
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        if self.channel == 0 { Channel::Command } else { Channel::Data }
    }

    /// Bytes that may have been sent on the channel since the session began.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit.get()
    }

    /// How much of it is growth of the window since the hello, bytes.
    #[must_use]
    pub const fn grown(&self) -> u32 {
        self.grown.get()
    }
}

/// How much the sender of this message has sent on a channel by now, counted as for [`Window`].
/// 16 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | control_type 6  |channel | flags  | unsent                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | sent                                                                  |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
///
/// A receiver learns from it what got lost on a channel that may lose messages, and, from the last one,
/// which goes before a close, what is still on its way and how many messages were given up.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Position {
    control_type: U16,
    channel: u8,
    flags: u8,
    unsent: U32,
    sent: U64,
}

const _: () = {
    assert!(size_of::<Position>() == 16);
    assert!(align_of::<Position>() == 1);
    assert!(offset_of!(Position, control_type) == 0);
    assert!(offset_of!(Position, channel) == 2);
    assert!(offset_of!(Position, flags) == 3);
    assert!(offset_of!(Position, unsent) == 4);
    assert!(offset_of!(Position, sent) == 8);
};

impl Position {
    /// In `flags`: nothing more is sent on the channel. Bits of later versions are ignored.
    const LAST: u8 = 1;

    /// `sent` bytes were sent on `channel` since the session began.
    #[must_use]
    pub const fn new(channel: Channel, sent: u64) -> Self {
        Self {
            control_type: ControlType::Position.to_wire(),
            channel: channel as u8,
            flags: 0,
            unsent: U32::ZERO,
            sent: U64::new(sent),
        }
    }

    /// The same as the last word on the channel: `unsent` messages were committed and will never be
    /// sent. Only for a peer whose hello has
    /// [`HelloFields::CLOSING`](super::HelloFields::CLOSING) among its features.
    #[must_use]
    pub const fn last(self, unsent: u32) -> Self {
        Self { flags: Self::LAST, unsent: U32::new(unsent), ..self }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let position =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_channel(position.channel)?;
        Ok(position)
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        if self.channel == 0 { Channel::Command } else { Channel::Data }
    }

    /// Bytes sent on the channel since the session began.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Messages that were committed on the channel and will never be sent, if this is the last word
    /// on it; at most 2³² − 1 are told.
    #[must_use]
    pub const fn unsent(&self) -> Option<u32> {
        if self.flags & Self::LAST == 0 { None } else { Some(self.unsent.get()) }
    }
}

pub(super) fn check_channel(channel: u8) -> Result<(), Malformed> {
    if channel > Channel::Data as u8 {
        let expected = Expected::OneOf("0 (command), 1 (data)");
        return Err(Malformed::new(Field::Channel, u64::from(channel), expected));
    }
    Ok(())
}
