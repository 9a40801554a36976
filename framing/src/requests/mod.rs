//! Messages of requests and streams: what two peers tell each other of questions, their answers, and
//! messages that go piece by piece.
//!
//! A message of a request is the body of a frame of [`Kind::Request`](crate::Kind), which may come in
//! fragments like an application's own. It begins with 16 bytes of fixed layout; most have a payload behind
//! them. Whoever asks, or writes a stream, *opens* an exchange and counts its ids; all that either side says
//! of the exchange has the id that its opener chose. The rules are in `docs/WIRE.md`, section 15.

mod header;
mod message;
mod open;
mod refusal;

pub use header::{RequestHead, message_cost};
pub use message::{CreditOf, RequestMessage};
pub use refusal::{MAX_REFUSAL_REASON, RefusalCode};

/// Bytes that each answer and each piece takes of a credit beside those of its payload: what it costs to keep one.
pub const MESSAGE_OVERHEAD: u32 = 256;

/// The types of messages of requests and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum RequestType {
    Request = 1,
    Answer = 2,
    Refused = 3,
    Cancel = 4,
    Credit = 5,
    Open = 6,
    Piece = 7,
}

#[cfg(test)]
mod tests;
