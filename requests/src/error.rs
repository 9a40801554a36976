use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::{ChannelClosed, SendError, SplitError};
use deltawire_framing::requests::RefusalCode;
use deltawire_link::NoMoreSenders;

/// Why a call has no answer, or a stream does not go on. [`may_have_run`](Self::may_have_run) says whether the
/// other side's application may have seen it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The other side refused it.
    #[error("the other side refused it: {code}{}", Reason(.reason))]
    Refused {
        /// Why.
        code: RefusalCode,
        /// Why, for people; may be empty.
        reason: Arc<str>,
        /// Whether the other side's application saw it before.
        may_have_run: bool,
    },
    /// There was no answer in time. The other side is told to stop.
    #[error("no answer came within {after:?}")]
    TimedOut {
        /// The time.
        after: Duration,
        /// Whether it was sent.
        may_have_run: bool,
    },
    /// The other side cancelled it: a call whose answer nobody waits for any more, or a stream that is not sent to
    /// its end.
    #[error("the other side cancelled it")]
    Cancelled,
    /// The link is over, or what ran over it is.
    #[error("it is over: {ended}")]
    LinkOver {
        /// Why.
        ended: Ended,
        /// Whether it was sent.
        may_have_run: bool,
    },
    /// It is longer than can ever go: than the ring, than the peer's window, or than what the peer lets wait.
    #[error("{len} bytes are longer than the {limit} that can go")]
    TooLong {
        /// Bytes of it.
        len: u64,
        /// The longest that can go.
        limit: u64,
    },
    /// The answer is longer than [`RequestsOptions::max_answer_len`](crate::RequestsOptions::max_answer_len).
    #[error("the answer's {len} bytes are longer than the {limit} that max_answer_len allows")]
    AnswerTooLong {
        /// Bytes of it.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// The stream is longer than [`RequestsOptions::max_stream_len`](crate::RequestsOptions::max_stream_len); its
    /// writer is told.
    #[error("the stream is longer than the {limit} bytes that max_stream_len allows")]
    StreamTooLong {
        /// The limit.
        limit: u64,
    },
    /// More or less was written to a stream than was announced. Its reader was told that it is cancelled.
    #[error("{written} bytes were written to a stream of {len}")]
    WrongLength {
        /// What was announced.
        len: u64,
        /// What was written, or would have been.
        written: u64,
    },
    /// There are as many at a time as there may be. Only with [`WhenFull::Refuse`](crate::WhenFull::Refuse).
    #[error("there are {limit} at a time already, as many as there may be")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

impl RequestError {
    /// Whether the other side's application may have seen it. `false` is certain; ask again then, if you like.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Refused { may_have_run, .. }
            | Self::TimedOut { may_have_run, .. }
            | Self::LinkOver { may_have_run, .. } => *may_have_run,
            Self::Cancelled
            | Self::AnswerTooLong { .. }
            | Self::StreamTooLong { .. }
            | Self::WrongLength { .. } => true,
            Self::TooLong { .. } | Self::TooMany { .. } => false,
        }
    }

    /// What a sender said of a message that it did not take.
    pub(crate) fn of_send(error: SendError) -> Self {
        let long =
            |len: usize, limit: usize| Self::TooLong { len: len as u64, limit: limit as u64 };
        match error {
            SendError::TooLarge { needed, capacity } => long(needed, capacity),
            SendError::TooLongForPeer { len, allowed } => long(len, allowed),
            SendError::Closed(closed) => {
                Self::LinkOver { ended: Ended::Closed(closed), may_have_run: false }
            }
            // It was closed between a reservation and its commit.
            _ => {
                Self::LinkOver { ended: Ended::Closed(ChannelClosed::Dropped), may_have_run: false }
            }
        }
    }
}

/// A reason behind a colon, if there is one.
struct Reason<'a>(&'a str);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// Why no more requests go either way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The session is over.
    Closed(ChannelClosed),
    /// The peer broke a rule; the link was closed for it.
    Violation(Violation),
    /// [`Requests::close`](crate::Requests::close) was called.
    ByUs,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(f),
            Self::Violation(violation) => write!(f, "the peer broke a rule: {violation}"),
            Self::ByUs => write!(f, "requests were closed by this side"),
        }
    }
}

/// A rule of requests and streams that a peer broke. Its link is closed with the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An exchange is opened by the next number.
    #[error("id {id} opens an exchange, and {expected} is next")]
    Id {
        /// What came.
        id: u32,
        /// What was next.
        expected: u32,
    },
    /// A message is about an exchange that was never opened.
    #[error("{what} is about id {id}, which was never opened")]
    NeverOpened {
        /// The message.
        what: &'static str,
        /// The id.
        id: u32,
    },
    /// A message has no place in the exchange that it is about.
    #[error("{what} has no place in exchange {id}")]
    OutOfPlace {
        /// The message.
        what: &'static str,
        /// The id.
        id: u32,
    },
    /// More came than a credit allows.
    #[error("{cost} bytes came in exchange {id}, where the credit left was {credit}")]
    Credit {
        /// The id.
        id: u32,
        /// What the message takes.
        cost: u64,
        /// What was left.
        credit: u64,
    },
    /// Credits of an exchange are too many to be meant.
    #[error("the credits of exchange {id} are more than 2^62 bytes")]
    TooMuchCredit {
        /// The id.
        id: u32,
    },
    /// A stream is not as long as it was announced to be.
    #[error("stream {id} was announced with {len} bytes, and has {came}")]
    StreamLen {
        /// The id.
        id: u32,
        /// What was announced.
        len: u64,
        /// What came.
        came: u64,
    },
    /// A message that is no message of a request. Sessions refuse it before; within one process nobody does.
    #[error("a message of requests is malformed")]
    Malformed,
}

/// Why requests cannot go over a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The node at its other end does not know them.
    #[error("the other node does not know requests: its version is older")]
    NotSpoken,
    /// The channel may lose messages or reorder them.
    #[error("requests need channels that lose nothing and keep the order")]
    Delivery,
    /// There are requests on this channel already.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The link has as many senders as it may, or is over.
    #[error(transparent)]
    NoMoreSenders(#[from] NoMoreSenders),
}

/// An answer in words that is no answer: what a responder refuses with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why. [`RefusalCode::APPLICATION`] and above are the application's.
    pub code: RefusalCode,
    /// Why, for people; 256 bytes of it are sent.
    pub reason: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}
