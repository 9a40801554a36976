//! Why a ring could not do what was asked. Values that it did not take are in the error.

use core::fmt;

/// The other side, or this one, has closed the ring. Holds what was to be put in.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ring is closed: drop this handle")]
pub struct RingClosed<T = ()>(pub T);

/// Why a value was not taken; it is given back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError<T> {
    /// There is no room now: try again later, or wait with `push`.
    #[error("the ring is full: try again later, or wait for room")]
    Full(T),
    /// The ring is closed, by either side.
    #[error("the ring is closed: nobody will read the value")]
    Closed(T),
}

impl<T> PushError<T> {
    /// The value that was not taken.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }
}

// By hand, so that an error can be shown whatever the value is.
impl<T> fmt::Debug for RingClosed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed(_)")
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(_)",
            Self::Closed(_) => "Closed(_)",
        })
    }
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PopError {
    /// There is none now: try again later, or wait with `pop`.
    #[error("the ring is empty: try again later, or wait for a value")]
    Empty,
    /// The ring is closed and every value has been read.
    #[error("the ring is closed and read to its end: no value will come")]
    Closed,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is none now: try again later, or wait with `readable`.
    #[error("the ring is empty: try again later, or wait for a message")]
    Empty,
    /// The ring is closed and every message has been read.
    #[error("the ring is closed and read to its end: no message will come")]
    Closed,
}

/// Why no room was reserved. The ring holds what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// There is no room now: try again later, or wait with `reserve`.
    #[error("the ring has {free} bytes free, {needed} are needed: try again later, or wait")]
    Full {
        /// Bytes that the message would take up: header, body, the gap behind it, and what is
        /// left unused before the ring's end if it has to start over.
        needed: usize,
        /// Bytes that are free.
        free: usize,
    },
    /// The message can never fit: make the ring larger, or the message smaller.
    #[error("a frame of {needed} bytes cannot fit a ring of {capacity}: make the ring larger")]
    TooLarge {
        /// Bytes of the frame: header and body. `usize::MAX` if they cannot be counted.
        needed: usize,
        /// Bytes of the ring.
        capacity: usize,
    },
    /// The ring is closed, by either side.
    #[error("the ring is closed: nobody will read the message")]
    Closed,
}

/// Why a header does not fit the room that was reserved for its message. The room is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The ring was closed since the room was reserved: nobody will read the message.
    #[error("the ring is closed: nobody will read the message")]
    Closed,
    /// The header's message length is outside `1..=reserved`: reserve more, or pass the length
    /// that was written.
    #[error("a message of {message_len} bytes does not fit the {reserved} reserved for its body")]
    Length {
        /// Bytes of the body that the header announces.
        message_len: u32,
        /// Bytes that were reserved for the body.
        reserved: usize,
    },
    /// The header is a fragment's. A ring holds whole messages; they are cut up as they leave.
    #[error("the header says fragment {index} of {count}: commit whole messages only")]
    Fragment {
        /// The header's fragment index.
        index: u16,
        /// The header's fragment count.
        count: u16,
    },
}
