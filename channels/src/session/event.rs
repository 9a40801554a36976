use core::fmt;

use deltawire_framing::control::{CloseCode, HelloFields};

use super::{ProtocolError, ResumeRequest};

/// What a session tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer said hello; what it takes is known.
    Opened(HelloFields),
    /// Of an acceptor: the peer wants to go on with a session that was begun over another link, in place of this one.
    /// Nothing else is to be told of this one.
    ResumeRequested(Box<ResumeRequest>),
    /// The session goes on over a link.
    Resumed {
        /// What is sent again, bytes as windows count them.
        repeated_bytes: u64,
    },
    /// Nothing is heard of the peer over the link: the session can [go on](super::Session::detach) over
    /// another.
    Silent,
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
        /// Whether the peer answered that everything arrived that this side had committed, and
        /// everything arrived that the peer had; the latter does not count when the application
        /// had dropped its peer.
        complete: bool,
        /// What the peer had committed and did not arrive.
        missing: Missing,
    },
    /// The peer closed it.
    ByPeer {
        /// Why.
        code: CloseCode,
        /// The same, for people. At most 256 bytes.
        reason: String,
        /// Whether everything arrived that the peer had committed, and everything was sent that
        /// this side had.
        complete: bool,
        /// What the peer had committed and did not arrive.
        missing: Missing,
    },
    /// The peer did what it must not.
    Error(ProtocolError),
    /// The link ended before the session did.
    LinkLost,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByUs { code, complete, missing } => {
                write!(f, "closed by this side with code {}", code.0)?;
                if *complete { Ok(()) } else { write!(f, ", {missing}") }
            }
            Self::ByPeer { code, reason, complete, missing } => {
                write!(f, "closed by the peer with code {}: {reason:?}", code.0)?;
                if *complete { Ok(()) } else { write!(f, ", {missing}") }
            }
            Self::Error(error) => error.fmt(f),
            Self::LinkLost => f.write_str("the link was lost"),
        }
    }
}

impl std::error::Error for Closed {}

/// What a peer had committed and did not arrive, as far as its close says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Messages that it never sent.
    pub messages: u64,
    /// Bytes of messages that it sent and that did not come, counted as windows count them.
    pub bytes: u64,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not everything is known to have been delivered")?;
        if *self != Self::default() {
            let Self { messages, bytes } = self;
            write!(
                f,
                ": {messages} messages of the peer's were not sent, {bytes} bytes are missing"
            )?;
        }
        Ok(())
    }
}

/// What a session that ended had taken from its application, and is not known to have been read by
/// the peer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Messages that were committed and never sent, or not to their end: they are lost.
    pub unsent: u64,
    /// Bytes of them, frame headers and gaps included.
    pub unsent_bytes: u64,
    /// Messages that were sent, and not known to have been read: each may have got lost, may wait
    /// to be read, or may have been read. Never too few on a reliable channel; too many by what
    /// the peer read since it last said so, and by more on an unordered channel, where the longest
    /// may have been read first. On a channel that may lose messages, those that count as lost are
    /// not among them.
    pub unread: u64,
    /// Bytes of them, counted as windows count them.
    pub unread_bytes: u64,
}

impl core::ops::AddAssign for Undelivered {
    fn add_assign(&mut self, other: Self) {
        self.unsent += other.unsent;
        self.unsent_bytes += other.unsent_bytes;
        self.unread += other.unread;
        self.unread_bytes += other.unread_bytes;
    }
}

/// Events that were not asked for yet: there is at most one of each kind, in this order.
#[derive(Debug, Default)]
pub(super) struct Events {
    opened: Option<HelloFields>,
    resume_requested: Option<Box<ResumeRequest>>,
    resumed: Option<u64>,
    silent: bool,
    closed: Option<Closed>,
}

impl Events {
    pub(super) fn opened(&mut self, peer: HelloFields) {
        self.opened = Some(peer);
    }

    /// In place of being opened.
    pub(super) fn resume_requested(&mut self, request: ResumeRequest) {
        self.opened = None;
        self.resume_requested = Some(Box::new(request));
    }

    pub(super) fn resumed(&mut self, repeated_bytes: u64) {
        self.resumed = Some(repeated_bytes);
    }

    pub(super) fn silent(&mut self) {
        self.silent = true;
    }

    /// What was to be told of a link that is gone.
    pub(super) fn forget_link(&mut self) {
        self.resumed = None;
        self.silent = false;
    }

    pub(super) fn closed(&mut self, closed: Closed) {
        self.closed = Some(closed);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let opened = self.opened.take().map(Event::Opened);
        opened
            .or_else(|| self.resume_requested.take().map(Event::ResumeRequested))
            .or_else(|| self.resumed.take().map(|repeated_bytes| Event::Resumed { repeated_bytes }))
            .or_else(|| core::mem::take(&mut self.silent).then_some(Event::Silent))
            .or_else(|| self.closed.take().map(Event::Closed))
    }
}
