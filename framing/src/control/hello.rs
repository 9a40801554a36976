use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ControlType, Delivery, Order, wrong_length};
use crate::error::{Expected, Field, Malformed};
use crate::frame::FrameHeader;

/// Which end of the link a peer is. The only asymmetry there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// It started the link.
    Initiator = 0,
    /// It answered.
    Acceptor = 1,
}

/// What a peer says of itself in a [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloFields {
    /// Which end of the link it is.
    pub role: Role,
    /// Largest transport message that it takes, bytes; at least [`Hello::MIN_FRAME_LEN`].
    pub max_frame_len: u32,
    /// Longest message body that it takes, bytes.
    pub max_message_len: u32,
    /// How much it takes on the data channel before a [`Window`](super::Window) says more.
    pub data_window: u64,
    /// How much it takes of the application's commands before a [`Window`](super::Window) says
    /// more.
    pub command_window: u64,
    /// How many fragmented messages a channel may have unfinished at a time.
    pub max_unfinished: u32,
    /// After how many milliseconds of silence it takes its peer for dead; 0: never.
    pub idle_timeout_ms: u32,
    /// Bits of what it speaks beyond version 1; unknown ones are ignored.
    pub features: u64,
    /// Whether commands of its own arrive in the order in which it sends them.
    pub command: Order,
    /// What the channel of its deltas promises. The wire tells a lifetime in milliseconds: see
    /// [`Delivery::on_wire`].
    pub deltas: Delivery,
    /// Names the session; a later link with the same id is the same session.
    pub session_id: [u8; 16],
}

impl HelloFields {
    /// Among the [`features`](Self::features): it knows the [flags](super::CloseFlags) of a close,
    /// and what a [`Position`](super::Position) says of messages that were never sent.
    pub const CLOSING: u64 = 1;
    /// Among the [`features`](Self::features): it knows that a [`Window`](super::Window) can say by how much
    /// it has grown.
    pub const GROWING: u64 = 2;
    /// Among the [`features`](Self::features): it takes [messages about documents](crate::documents).
    pub const DOCUMENTS: u64 = 4;
    /// Among the [`features`](Self::features): it serves documents, so that one can subscribe to them and
    /// publish to them.
    pub const HUB: u64 = 8;
    /// Among the [`features`](Self::features): its session can go on over another link, and it acknowledges
    /// what it takes in.
    pub const RESUME: u64 = 16;
    /// Among the [`features`](Self::features): it takes [messages of requests and streams](crate::requests).
    pub const REQUESTS: u64 = 32;
    /// Among the [`features`](Self::features): it takes [messages about bulk](crate::bulk).
    pub const BULK: u64 = 64;
}

/// The first frame each way: version, limits, session. 64 bytes.
///
/// ```text
///  0                 2                 4                 6        7        8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | control_type 1  | delivery_limit  | version         | role   |delivery|
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | max_frame_len                     | max_message_len                   |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | data_window                                                           |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | command_window                                                        |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | max_unfinished                    | idle_timeout_ms                   |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | features                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | session_id                                                   16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Hello {
    control_type: U16,
    delivery_limit: U16,
    version: U16,
    role: u8,
    delivery: u8,
    max_frame_len: U32,
    max_message_len: U32,
    data_window: U64,
    command_window: U64,
    max_unfinished: U32,
    idle_timeout_ms: U32,
    features: U64,
    session_id: [u8; 16],
}

const _: () = {
    assert!(size_of::<Hello>() == 64);
    assert!(align_of::<Hello>() == 1);
    assert!(offset_of!(Hello, control_type) == 0);
    assert!(offset_of!(Hello, delivery_limit) == 2);
    assert!(offset_of!(Hello, version) == 4);
    assert!(offset_of!(Hello, role) == 6);
    assert!(offset_of!(Hello, delivery) == 7);
    assert!(offset_of!(Hello, max_frame_len) == 8);
    assert!(offset_of!(Hello, max_message_len) == 12);
    assert!(offset_of!(Hello, data_window) == 16);
    assert!(offset_of!(Hello, command_window) == 24);
    assert!(offset_of!(Hello, max_unfinished) == 32);
    assert!(offset_of!(Hello, idle_timeout_ms) == 36);
    assert!(offset_of!(Hello, features) == 40);
    assert!(offset_of!(Hello, session_id) == 48);
};

impl Hello {
    /// The smallest `max_frame_len`: a hello in its frame, 80 bytes.
    pub const MIN_FRAME_LEN: u32 = (FrameHeader::SIZE + size_of::<Self>()) as u32;

    /// A hello of version 1. A `max_frame_len` below [`MIN_FRAME_LEN`](Self::MIN_FRAME_LEN) is
    /// raised to it.
    #[must_use]
    pub fn new(fields: HelloFields) -> Self {
        let (delivery, delivery_limit) = fields.deltas.to_bits(fields.command);
        Self {
            control_type: ControlType::Hello.to_wire(),
            delivery_limit: U16::new(delivery_limit),
            version: U16::new(1),
            role: fields.role as u8,
            delivery,
            max_frame_len: U32::new(fields.max_frame_len.max(Self::MIN_FRAME_LEN)),
            max_message_len: U32::new(fields.max_message_len),
            data_window: U64::new(fields.data_window),
            command_window: U64::new(fields.command_window),
            max_unfinished: U32::new(fields.max_unfinished),
            idle_timeout_ms: U32::new(fields.idle_timeout_ms),
            features: U64::new(fields.features),
            session_id: fields.session_id,
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let hello =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        Delivery::check_limit(hello.delivery, hello.delivery_limit.get())?;
        if hello.version.get() == 0 {
            return Err(Malformed::new(Field::Version, 0, Expected::AtLeast(1)));
        }
        if hello.role > Role::Acceptor as u8 {
            let expected = Expected::OneOf("0 (initiator), 1 (acceptor)");
            return Err(Malformed::new(Field::Role, u64::from(hello.role), expected));
        }
        Delivery::check_bits(hello.delivery)?;
        let max_frame_len = hello.max_frame_len.get();
        if max_frame_len < Self::MIN_FRAME_LEN {
            let expected = Expected::AtLeast(u64::from(Self::MIN_FRAME_LEN));
            return Err(Malformed::new(Field::MaxFrameLen, u64::from(max_frame_len), expected));
        }
        Ok(hello)
    }

    /// The highest version that the peer speaks; both then speak the lower of the two.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version.get()
    }

    /// Bits of what the peer can do beyond version 1; unknown ones are ignored.
    #[must_use]
    pub const fn features(&self) -> u64 {
        self.features.get()
    }

    /// Everything else.
    #[must_use]
    pub const fn fields(&self) -> HelloFields {
        HelloFields {
            role: if self.role == 0 { Role::Initiator } else { Role::Acceptor },
            max_frame_len: self.max_frame_len.get(),
            max_message_len: self.max_message_len.get(),
            data_window: self.data_window.get(),
            command_window: self.command_window.get(),
            max_unfinished: self.max_unfinished.get(),
            idle_timeout_ms: self.idle_timeout_ms.get(),
            features: self.features.get(),
            command: Delivery::command_from_bits(self.delivery),
            deltas: Delivery::from_bits(self.delivery, self.delivery_limit.get()),
            session_id: self.session_id,
        }
    }
}
