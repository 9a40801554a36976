//! What lets a session go on over another link: see WIRE.md, section 6.5.

use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::window::check_channel;
use super::{ControlType, check_reserved, wrong_length};
use crate::error::Malformed;
use crate::frame::Channel;

/// Bytes of the secret that a [`Ticket`] gives and a [`Resume`] shows.
pub const SECRET_LEN: usize = 32;

/// How much the sender of this message has taken in of the peer's on a channel, to the last fragment, counted
/// as for [`Window`](super::Window): so much the peer need not keep any longer. 16 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | control_type 7  |channel | flags  | ticket                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | taken                                                                 |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
///
/// Only for a peer whose hello has [`HelloFields::RESUME`](super::HelloFields::RESUME) among its features.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Acknowledge {
    control_type: U16,
    channel: u8,
    flags: u8,
    ticket: U32,
    taken: U64,
}

const _: () = {
    assert!(size_of::<Acknowledge>() == 16);
    assert!(align_of::<Acknowledge>() == 1);
    assert!(offset_of!(Acknowledge, control_type) == 0);
    assert!(offset_of!(Acknowledge, channel) == 2);
    assert!(offset_of!(Acknowledge, flags) == 3);
    assert!(offset_of!(Acknowledge, ticket) == 4);
    assert!(offset_of!(Acknowledge, taken) == 8);
};

impl Acknowledge {
    /// In `flags`: the peer is to acknowledge at once what it has taken in. Bits of later versions are ignored.
    const ASKS: u8 = 1;

    /// `taken` bytes of the peer's were taken in on `channel` since the session began.
    #[must_use]
    pub const fn new(channel: Channel, taken: u64) -> Self {
        Self {
            control_type: ControlType::Acknowledge.to_wire(),
            channel: channel as u8,
            flags: 0,
            ticket: U32::ZERO,
            taken: U64::new(taken),
        }
    }

    /// The same, and the peer is to acknowledge at once what it has taken in.
    #[must_use]
    pub const fn asking(self) -> Self {
        Self { flags: self.flags | Self::ASKS, ..self }
    }

    /// The same from who holds the ticket of this number.
    #[must_use]
    pub const fn with_ticket(self, number: u32) -> Self {
        Self { ticket: U32::new(number), ..self }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let acknowledge =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_channel(acknowledge.channel)?;
        Ok(acknowledge)
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        if self.channel == 0 { Channel::Command } else { Channel::Data }
    }

    /// Bytes that were taken in on the channel since the session began.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Whether it is to be answered at once.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.flags & Self::ASKS != 0
    }

    /// The number of the newest ticket that its sender holds; 0 for none.
    #[must_use]
    pub const fn ticket(&self) -> u32 {
        self.ticket.get()
    }
}

/// How far both channels are, from the initiator beside the hello of a link over which it goes on with a session,
/// and from the acceptor as the answer. 72 bytes.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | control_type 8  | reserved        | ticket                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | taken: of commands, of deltas                               2 · 8 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | sent: of commands, of deltas                                2 · 8 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | secret                                                       32 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Resume {
    control_type: U16,
    reserved: U16,
    ticket: U32,
    taken: [U64; 2],
    sent: [U64; 2],
    secret: [u8; SECRET_LEN],
}

const _: () = {
    assert!(size_of::<Resume>() == 72);
    assert!(align_of::<Resume>() == 1);
    assert!(offset_of!(Resume, control_type) == 0);
    assert!(offset_of!(Resume, reserved) == 2);
    assert!(offset_of!(Resume, ticket) == 4);
    assert!(offset_of!(Resume, taken) == 8);
    assert!(offset_of!(Resume, sent) == 24);
    assert!(offset_of!(Resume, secret) == 40);
};

impl Resume {
    /// `taken` and `sent`, of commands and of deltas; the secret of the ticket with this number, or zeros in the
    /// answer.
    #[must_use]
    pub fn new(ticket: u32, taken: [u64; 2], sent: [u64; 2], secret: [u8; SECRET_LEN]) -> Self {
        Self {
            control_type: ControlType::Resume.to_wire(),
            reserved: U16::ZERO,
            ticket: U32::new(ticket),
            taken: taken.map(U64::new),
            sent: sent.map(U64::new),
            secret,
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let resume =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_reserved(resume.reserved.get())?;
        Ok(resume)
    }

    /// The number of the ticket whose secret is shown; in the answer that of the one that was taken.
    #[must_use]
    pub const fn ticket(&self) -> u32 {
        self.ticket.get()
    }

    /// Bytes that its sender has taken in, of commands and of deltas, since the session began.
    #[must_use]
    pub fn taken(&self) -> [u64; 2] {
        self.taken.map(U64::get)
    }

    /// Bytes that its sender has sent, of commands and of deltas, since the session began.
    #[must_use]
    pub fn sent(&self) -> [u64; 2] {
        self.sent.map(U64::get)
    }

    /// What only who was given the ticket knows.
    #[must_use]
    pub const fn secret(&self) -> &[u8; SECRET_LEN] {
        &self.secret
    }
}

/// What the initiator shows when it goes on with the session over another link; given by the acceptor. Good for
/// one time. 48 bytes.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | control_type 9  | reserved        | number                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | timeout_ms                        | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | secret                                                       32 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Ticket {
    control_type: U16,
    reserved: U16,
    number: U32,
    timeout_ms: U32,
    reserved_2: U32,
    secret: [u8; SECRET_LEN],
}

const _: () = {
    assert!(size_of::<Ticket>() == 48);
    assert!(align_of::<Ticket>() == 1);
    assert!(offset_of!(Ticket, control_type) == 0);
    assert!(offset_of!(Ticket, reserved) == 2);
    assert!(offset_of!(Ticket, number) == 4);
    assert!(offset_of!(Ticket, timeout_ms) == 8);
    assert!(offset_of!(Ticket, reserved_2) == 12);
    assert!(offset_of!(Ticket, secret) == 16);
};

impl Ticket {
    /// The ticket of this number; without a link the session is kept for `timeout_ms`.
    #[must_use]
    pub const fn new(number: u32, timeout_ms: u32, secret: [u8; SECRET_LEN]) -> Self {
        Self {
            control_type: ControlType::Ticket.to_wire(),
            reserved: U16::ZERO,
            number: U32::new(number),
            timeout_ms: U32::new(timeout_ms),
            reserved_2: U32::ZERO,
            secret,
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let ticket =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_reserved(ticket.reserved.get())?;
        check_reserved(ticket.reserved_2.get())?;
        Ok(ticket)
    }

    /// Its number: each is greater than those before; the first is 1.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number.get()
    }

    /// For how long the acceptor keeps the session without a link, milliseconds.
    #[must_use]
    pub const fn timeout_ms(&self) -> u32 {
        self.timeout_ms.get()
    }

    /// What only who was given the ticket knows.
    #[must_use]
    pub const fn secret(&self) -> &[u8; SECRET_LEN] {
        &self.secret
    }
}
