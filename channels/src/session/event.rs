use core::fmt;
use std::collections::VecDeque;

use deltawire_framing::control::{CloseCode, HelloFields};

use super::ProtocolError;

/// What a session tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer said hello; what it takes is known.
    Opened(HelloFields),
    /// The session is over. The last event.
    Closed(Closed),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// This side closed it, and the peer answered, or did not in time.
    ByUs {
        /// What the peer was told.
        code: CloseCode,
        /// Whether everything that was committed was handed to the transport, and the peer
        /// answered.
        complete: bool,
    },
    /// The peer closed it.
    ByPeer {
        /// Why.
        code: CloseCode,
        /// The same, for people. At most 256 bytes.
        reason: String,
        /// Whether everything arrived that the peer had sent before.
        complete: bool,
    },
    /// The peer did what it must not.
    Error(ProtocolError),
    /// The link ended before the session did.
    LinkLost,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByUs { code, complete } => {
                let how = if *complete { "" } else { ", not everything was delivered" };
                write!(f, "closed by this side with code {}{how}", code.0)
            }
            Self::ByPeer { code, reason, complete } => {
                let how = if *complete { "" } else { ", not everything arrived" };
                write!(f, "closed by the peer with code {}: {reason:?}{how}", code.0)
            }
            Self::Error(error) => error.fmt(f),
            Self::LinkLost => f.write_str("the link was lost"),
        }
    }
}

impl std::error::Error for Closed {}

/// Events that were not asked for yet: at most one of each kind.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }
}
