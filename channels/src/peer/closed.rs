use std::sync::Arc;

use deltawire_framing::control::CloseCode;
use deltawire_framing::{Channel, WriteError};

use crate::ring::ReserveError;
use crate::session::Closed;
use crate::sync::OnceLock;

/// Why a channel takes and gives no more messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelClosed {
    /// This side closes the session: nothing more is accepted, what was accepted still goes.
    #[error("the channel was closed by this side with code {}", .0.0)]
    ClosingByUs(CloseCode),
    /// The peer closes the session: nothing more is accepted, what was accepted still goes.
    #[error("the channel was closed by the peer with code {}", .0.0)]
    ClosingByPeer(CloseCode),
    /// The session is over.
    #[error("the session is over: {0}")]
    Ended(Arc<Closed>),
    /// The session is over, because its link ended for a reason of its own.
    #[error("the session is over: the link was lost: {0}")]
    LinkLost(Arc<str>),
    /// The channel's other end was dropped without a word: the peer, where both are in one
    /// process, or this node's part of the session.
    #[error("nobody is left at the channel's other end: it was dropped")]
    Dropped,
}

/// Why a message was not sent, or no room reserved for it. The ring holds what it held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room now. Only of what does not wait: `try_reserve`, `try_send`.
    #[error("the ring has {free} bytes free, {needed} are needed: try again later, or wait")]
    Full {
        /// Bytes that the message would take up: header, body, the gap behind it, and what is
        /// left unused before the ring's end if it has to start over.
        needed: usize,
        /// Bytes that are free.
        free: usize,
    },
    /// The message can never fit: make it smaller, or [`Limits::send_ring`] larger.
    ///
    /// [`Limits::send_ring`]: crate::Limits::send_ring
    #[error("a frame of {needed} bytes cannot fit a ring of {capacity}: make the ring larger")]
    TooLarge {
        /// Bytes of the frame: header and body. `usize::MAX` if they cannot be counted.
        needed: usize,
        /// Bytes of the ring.
        capacity: usize,
    },
    /// The peer never takes so long a message on this channel: make it smaller, or the peer's window
    /// larger.
    #[error("a message of {len} bytes is longer than the {allowed} that the peer takes")]
    TooLongForPeer {
        /// Bytes of the message's body; a delta's header, 48 bytes, counts.
        len: usize,
        /// The longest body that the peer takes on the channel, bytes.
        allowed: usize,
    },
    /// The message came on the other channel, and its frame says so. Only of
    /// [`SharedSender`](crate::SharedSender).
    #[error("the message is one of the {channel:?} channel, not of {needed:?}: send a copy")]
    Channel {
        /// The channel that its frame names.
        channel: Channel,
        /// The channel of the sender.
        needed: Channel,
    },
    /// Nothing more is accepted.
    #[error(transparent)]
    Closed(#[from] ChannelClosed),
    /// The message is not one that can be sent. Only of `send` and its kind, which commit too.
    #[error(transparent)]
    Invalid(#[from] WriteError),
}

impl SendError {
    /// What a ring said, which does not know why it was closed.
    #[cold]
    pub(crate) fn of_ring(error: ReserveError, end: &EndNotice) -> Self {
        match error {
            ReserveError::Full { needed, free } => Self::Full { needed, free },
            ReserveError::TooLarge { needed, capacity } => Self::TooLarge { needed, capacity },
            ReserveError::Closed => Self::Closed(end.why()),
        }
    }
}

/// Where a session leaves word of its end for its senders and receivers. Each part is written once,
/// before the rings are closed, and read only when they are: a ring's `closed` orders the two.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndNotice {
    parts: Arc<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    closing: OnceLock<ChannelClosed>,
    ended: OnceLock<ChannelClosed>,
}

impl EndNotice {
    /// Says that the session is being closed.
    pub(crate) fn closing(&self, why: ChannelClosed) {
        // Only the first word counts.
        let _ = self.parts.closing.set(why);
    }

    /// Says that the session is over.
    pub(crate) fn ended(&self, why: ChannelClosed) {
        let _ = self.parts.ended.set(why);
    }

    /// Why a ring is closed.
    #[cold]
    pub(crate) fn why(&self) -> ChannelClosed {
        let why = self.parts.ended.get().or_else(|| self.parts.closing.get());
        why.cloned().unwrap_or(ChannelClosed::Dropped)
    }
}
