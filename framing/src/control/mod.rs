//! Control messages: what two sessions tell each other, on the command channel.
//!
//! A control message is the body of an unfragmented frame of [`Kind::Control`](crate::Kind). Its
//! first two bytes are its type; the rest of it is a struct of fixed layout, seen in place. Every
//! one of them is cumulative or idempotent, so none depends on the order of arrival.

mod close;
mod delivery;
mod hello;
mod ping;
mod resume;
mod window;

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U16;

pub use close::{Close, CloseCode, CloseFlags, MAX_REASON_LEN};
pub use delivery::{Delivery, Order, Reliability};
pub use hello::{Hello, HelloFields, Role};
pub use ping::{Ping, Pong};
pub use resume::{Acknowledge, Resume, SECRET_LEN, Ticket};
pub use window::{Position, Window};

use crate::error::{Expected, Field, Malformed};

/// The types of control messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum ControlType {
    Hello = 1,
    Window = 2,
    Ping = 3,
    Pong = 4,
    Close = 5,
    Position = 6,
    Acknowledge = 7,
    Resume = 8,
    Ticket = 9,
}

impl ControlType {
    const fn to_wire(self) -> U16 {
        U16::new(self as u16)
    }
}

/// A view over one control message.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Control<'a> {
    /// Who the peer is and what it takes: the first frame each way.
    Hello(&'a Hello),
    /// How much the peer may send by now.
    Window(&'a Window),
    /// To be answered with a [`Pong`].
    Ping(&'a Ping),
    /// The answer.
    Pong(&'a Pong),
    /// The last frame each way.
    Close(Close<'a>),
    /// How much the peer has sent by now.
    Position(&'a Position),
    /// How much of the peer's was taken in.
    Acknowledge(&'a Acknowledge),
    /// A session goes on over this link, and how far it is.
    Resume(&'a Resume),
    /// What to show when the session is to go on over another link.
    Ticket(&'a Ticket),
}

impl<'a> Control<'a> {
    /// Sees `body`, that of a control frame, as a control message.
    ///
    /// # Errors
    /// Names the first field that breaks a rule: [`Field::ControlType`] for an unknown type.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let Ok((control_type, _)) = U16::read_from_prefix(body) else {
            return Err(Malformed::new(Field::Length, body.len() as u64, Expected::AtLeast(2)));
        };
        match control_type.get() {
            t if t == ControlType::Hello as u16 => Hello::parse(body).map(Self::Hello),
            t if t == ControlType::Window as u16 => Window::parse(body).map(Self::Window),
            t if t == ControlType::Ping as u16 => Ping::parse(body).map(Self::Ping),
            t if t == ControlType::Pong as u16 => Pong::parse(body).map(Self::Pong),
            t if t == ControlType::Close as u16 => Close::parse(body).map(Self::Close),
            t if t == ControlType::Position as u16 => Position::parse(body).map(Self::Position),
            t if t == ControlType::Acknowledge as u16 => {
                Acknowledge::parse(body).map(Self::Acknowledge)
            }
            t if t == ControlType::Resume as u16 => Resume::parse(body).map(Self::Resume),
            t if t == ControlType::Ticket as u16 => Ticket::parse(body).map(Self::Ticket),
            other => {
                let types = "1 (hello), 2 (window), 3 (ping), 4 (pong), 5 (close), 6 (position), \
                             7 (acknowledge), 8 (resume), 9 (ticket)";
                let expected = Expected::OneOf(types);
                Err(Malformed::new(Field::ControlType, u64::from(other), expected))
            }
        }
    }
}

/// The error for a body of `len` bytes where a message is `size` bytes long.
#[cold]
fn wrong_length(len: usize, size: usize) -> Malformed {
    Malformed::new(Field::Length, len as u64, Expected::Exactly(size as u64))
}

/// Reserved fields hold 0.
#[inline]
fn check_reserved(value: impl Into<u64>) -> Result<(), Malformed> {
    let value = value.into();
    if value == 0 {
        Ok(())
    } else {
        Err(Malformed::new(Field::Reserved, value, Expected::Exactly(0)))
    }
}

#[cfg(test)]
mod tests;
