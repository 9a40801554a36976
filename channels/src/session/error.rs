use core::time::Duration;

use deltawire_framing::control::{CloseCode, Delivery};
use deltawire_framing::{Blame, Channel, LimitExceeded, Malformed, Refused};

/// What ends a session by name: what a peer did that it must not, or what the two cannot do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It sent bytes that break the format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It went past a limit of ours that it knew of.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// It sent a transport message that is longer than our hello allows.
    #[error("a transport message of {len} bytes came, max_frame_len is {allowed}")]
    FrameTooLong {
        /// Its length, bytes.
        len: usize,
        /// What we take.
        allowed: usize,
    },
    /// It sends on a channel with another delivery than this side expects: both have to say the
    /// same.
    #[error(
        "the two ends disagree on delivery: the peer sends {channel:?} {theirs}; this side \
         expects {ours}"
    )]
    Delivery {
        /// The channel.
        channel: Channel,
        /// What the peer says of it.
        theirs: Delivery,
        /// What this side was set up for.
        ours: Delivery,
    },
    /// Before the peer said what it takes, the application had committed a message that the peer never
    /// takes. From then on `reserve` refuses such messages.
    #[error("{channel:?} message of {len} bytes was committed, the peer takes at most {allowed}")]
    MessageTooLong {
        /// The channel.
        channel: Channel,
        /// The message's body, bytes.
        len: usize,
        /// The longest body that the peer takes on the channel.
        allowed: usize,
    },
    /// It sent a well-formed message where it has no place.
    #[error("out of place: {0}")]
    OutOfPlace(&'static str),
    /// It sent more than it was granted.
    #[error("{} exceeded: {received} bytes came, {granted} were granted", window(.channel))]
    WindowExceeded {
        /// The channel.
        channel: Channel,
        /// What came in all, with this message.
        received: u64,
        /// What was granted in all.
        granted: u64,
    },
    /// It took back what it had granted.
    #[error("{} shrank to {limit}, it was {before}", window(.channel))]
    WindowShrank {
        /// The channel.
        channel: Channel,
        /// The new limit.
        limit: u64,
        /// The limit before.
        before: u64,
    },
    /// It granted more than positions can say.
    #[error("{} of {limit} is too large, at most 2^62 can be granted", window(.channel))]
    WindowOverflow {
        /// The channel.
        channel: Channel,
        /// The limit.
        limit: u64,
    },
    /// It says to have sent more than it was granted.
    #[error("position {sent} is ahead of the {granted} that {} granted", window(.channel))]
    PositionAhead {
        /// The channel.
        channel: Channel,
        /// What it says to have sent.
        sent: u64,
        /// What was granted.
        granted: u64,
    },
    /// It says to have taken in what it was not sent, or part of a message.
    #[error(
        "{taken} bytes of {channel:?} are acknowledged, which is not as many as whole messages of the {sent} that were sent"
    )]
    Acknowledged {
        /// The channel.
        channel: Channel,
        /// What it says to have taken in.
        taken: u64,
        /// What it was sent.
        sent: u64,
    },
    /// It never said hello.
    #[error("no hello came within {0:?}")]
    NoHello(Duration),
    /// Nothing was heard of it.
    #[error("nothing was heard of the peer for {0:?}")]
    TimedOut(Duration),
}

impl ProtocolError {
    /// Who is to blame. A peer that is silent is to blame for that.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Limit(_) => Blame::Limit,
            Self::MessageTooLong { .. } => Blame::Caller,
            _ => Blame::Peer,
        }
    }

    /// Whether it is that nothing was heard of the peer.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::NoHello(_) | Self::TimedOut(_))
    }

    /// The code that the peer is told.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Malformed(_) => CloseCode::MALFORMED,
            Self::Limit(_) | Self::FrameTooLong { .. } => CloseCode::LIMIT_EXCEEDED,
            Self::OutOfPlace(_)
            | Self::WindowShrank { .. }
            | Self::WindowOverflow { .. }
            | Self::Acknowledged { .. }
            | Self::PositionAhead { .. } => CloseCode::OUT_OF_PLACE,
            Self::Delivery { .. } => CloseCode::DELIVERY,
            Self::MessageTooLong { .. } => CloseCode::UNDELIVERABLE,
            Self::WindowExceeded { .. } => CloseCode::WINDOW_EXCEEDED,
            Self::NoHello(_) | Self::TimedOut(_) => CloseCode::TIMED_OUT,
        }
    }
}

/// The name that a channel's window has in hello and in [`Limits`](crate::Limits).
fn window(channel: &Channel) -> &'static str {
    match channel {
        Channel::Command => "command_window",
        Channel::Data => "data_window",
    }
}

/// A limit of the reassembler's, by the name that it has in hello and in [`Limits`](crate::Limits).
fn told_in_hello(exceeded: LimitExceeded) -> LimitExceeded {
    let limit = match exceeded.limit {
        "max_messages" => "max_unfinished",
        other => other,
    };
    LimitExceeded { limit, ..exceeded }
}

impl From<Refused> for ProtocolError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed(error) => Self::Malformed(error),
            Refused::Limit(error) => Self::Limit(told_in_hello(error)),
            _ => Self::OutOfPlace("a fragment that was refused"),
        }
    }
}
