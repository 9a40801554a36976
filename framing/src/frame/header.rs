use core::fmt;
use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Expected, Field, WriteError};

/// Frames start at multiples of this many bytes, and all fragments of a message but the last carry
/// a multiple of it.
pub const FRAME_ALIGN: usize = 16;

/// Largest frame, header included, that a writer makes unless it is told otherwise: 16 KiB.
/// Smaller frames let a command overtake bulk data sooner; larger ones are not faster.
pub const DEFAULT_MAX_FRAME_LEN: usize = 16_384;

/// Rounds a frame's length up to where the next frame may start.
#[must_use]
#[inline]
pub const fn frame_step(frame_len: usize) -> usize {
    frame_len.next_multiple_of(FRAME_ALIGN)
}

/// What a message's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A [`Delta`](crate::Delta): header and payload.
    Delta = 1,
    /// A [control message](crate::control).
    Control = 2,
    /// The application's own bytes, without a delta header.
    Opaque = 3,
    /// A [message about documents](crate::documents), to a peer that speaks
    /// [`HelloFields::DOCUMENTS`](crate::control::HelloFields::DOCUMENTS).
    Document = 4,
    /// A [message of a request or stream](crate::requests), to a peer that speaks
    /// [`HelloFields::REQUESTS`](crate::control::HelloFields::REQUESTS).
    Request = 5,
    /// A [message about bulk](crate::bulk), to a peer that speaks
    /// [`HelloFields::BULK`](crate::control::HelloFields::BULK).
    Bulk = 6,
}

/// Which channel a frame belongs to. Direction is never written: it is who sent the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Channel {
    /// Control messages and the application's commands.
    Command = 0,
    /// Deltas.
    Data = 1,
}

/// The 16 bytes in front of every frame's body.
///
/// ```text
///  0        1        2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// |version | kind   |channel | flags  | message_id                        |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | message_len                       | fragment_index  | fragment_count  |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
///  8                                   12                14              16
/// ```
///
/// Integers are little-endian, alignment is 1. A header that a constructor made, or that a
/// [`Frame`](crate::Frame) hands out, keeps every rule of the format.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) channel: u8,
    pub(super) flags: u8,
    message_id: U32,
    message_len: U32,
    fragment_index: U16,
    fragment_count: U16,
}

const _: () = {
    assert!(size_of::<FrameHeader>() == FrameHeader::SIZE);
    assert!(align_of::<FrameHeader>() == 1);
    assert!(offset_of!(FrameHeader, version) == 0);
    assert!(offset_of!(FrameHeader, kind) == 1);
    assert!(offset_of!(FrameHeader, channel) == 2);
    assert!(offset_of!(FrameHeader, flags) == 3);
    assert!(offset_of!(FrameHeader, message_id) == 4);
    assert!(offset_of!(FrameHeader, message_len) == 8);
    assert!(offset_of!(FrameHeader, fragment_index) == 12);
    assert!(offset_of!(FrameHeader, fragment_count) == 14);
};

impl FrameHeader {
    /// Bytes of a header.
    pub const SIZE: usize = 16;
    /// The version that is written, and the only one that is read.
    pub const VERSION: u8 = 1;

    /// The header of a message that is not fragmented, `message_len` bytes long.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] when `message_len` is 0 or does not fit 32 bits.
    #[inline]
    pub const fn whole(
        kind: Kind,
        channel: Channel,
        message_len: usize,
    ) -> Result<Self, WriteError> {
        if message_len == 0 {
            return Err(WriteError::invalid(Field::MessageLen, 0, Expected::AtLeast(1)));
        }
        if message_len as u64 > u32::MAX as u64 {
            let expected = Expected::AtMost(u32::MAX as u64);
            return Err(WriteError::invalid(Field::MessageLen, message_len as u64, expected));
        }
        Ok(Self::new(kind, channel, 0, message_len as u32, 0, 1))
    }

    /// A header of any fields; callers keep the format's rules.
    #[inline]
    pub(crate) const fn new(
        kind: Kind,
        channel: Channel,
        message_id: u32,
        message_len: u32,
        fragment_index: u16,
        fragment_count: u16,
    ) -> Self {
        Self {
            version: Self::VERSION,
            kind: kind as u8,
            channel: channel as u8,
            flags: 0,
            message_id: U32::new(message_id),
            message_len: U32::new(message_len),
            fragment_index: U16::new(fragment_index),
            fragment_count: U16::new(fragment_count),
        }
    }

    /// The header of the unfragmented frame that `bytes` begin with; `None` if they begin with
    /// something else. Says nothing of whether the body is there: for memory that one trusts, such
    /// as a ring that holds frames one after another.
    #[must_use]
    #[inline]
    pub fn of_whole(bytes: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(bytes).ok()?;
        (header.is_sound_whole() && header.message_len() != 0).then_some(header)
    }

    /// What the message's body is.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> Kind {
        match self.kind {
            1 => Kind::Delta,
            2 => Kind::Control,
            3 => Kind::Opaque,
            4 => Kind::Document,
            6 => Kind::Bulk,
            _ => Kind::Request,
        }
    }

    /// The channel that the message belongs to.
    #[must_use]
    #[inline]
    pub const fn channel(&self) -> Channel {
        if self.channel == 0 { Channel::Command } else { Channel::Data }
    }

    /// Names the message among this sender's unfinished ones on this channel; 0 when it is not
    /// fragmented.
    #[must_use]
    #[inline]
    pub const fn message_id(&self) -> u32 {
        self.message_id.get()
    }

    /// Length in bytes of the whole message's body: all fragments together, headers not counted.
    #[must_use]
    #[inline]
    pub const fn message_len(&self) -> u32 {
        self.message_len.get()
    }

    /// Which fragment this is, below [`fragment_count`](Self::fragment_count).
    #[must_use]
    #[inline]
    pub const fn fragment_index(&self) -> u16 {
        self.fragment_index.get()
    }

    /// How many fragments the message has; 1 when it is not fragmented.
    #[must_use]
    #[inline]
    pub const fn fragment_count(&self) -> u16 {
        self.fragment_count.get()
    }

    /// Whether the frame carries only a part of its message.
    #[must_use]
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.fragment_count.get() != 1
    }

    /// Whether every field but `message_len` is as it must be in the header of an unfragmented
    /// message. Three words are compared instead of seven fields: every frame that comes passes
    /// here.
    #[inline]
    pub(super) fn is_sound_whole(&self) -> bool {
        const KIND: u32 = 0x0700;
        /// Bit n: there is a kind n.
        const KINDS: u32 = 0b0111_1110;
        const CHANNEL: u32 = 0x0001_0000;
        const INDEX_0_OF_1: u32 = 0x0001_0000;
        let [first, message_id, _, fragment]: [U32; 4] = zerocopy::transmute!(*self);
        first.get() & !(KIND | CHANNEL) == u32::from(Self::VERSION)
            && KINDS >> ((first.get() & KIND) >> 8) & 1 == 1
            && message_id.get() == 0
            && fragment.get() == INDEX_0_OF_1
    }

    /// Bytes of the frame of an unfragmented message: header and body. Where that exceeds `usize`,
    /// its greatest value, which no memory has.
    #[must_use]
    #[inline]
    pub const fn whole_frame_len(&self) -> usize {
        (self.message_len.get() as usize).saturating_add(Self::SIZE)
    }
}

impl fmt::Debug for FrameHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameHeader")
            .field("kind", &self.kind())
            .field("channel", &self.channel())
            .field("message_id", &self.message_id())
            .field("message_len", &self.message_len())
            .field("fragment_index", &self.fragment_index())
            .field("fragment_count", &self.fragment_count())
            .finish()
    }
}
