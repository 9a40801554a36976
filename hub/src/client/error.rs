use core::fmt;

use deltawire_channels::SendError;
use deltawire_framing::WriteError;
use deltawire_framing::documents::DeniedCode;

/// Why a subscription gives no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionEnded {
    /// The hub refused or ended it.
    Denied(DeniedCode),
    /// [`Documents::close`](crate::Documents::close) was called.
    Closed,
}

impl fmt::Display for SubscriptionEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(code) => write!(f, "the hub ended the subscription: {}", code.text()),
            Self::Closed => write!(f, "the documents were closed by this side"),
        }
    }
}

impl std::error::Error for SubscriptionEnded {}

/// Why something is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is one already.
    #[error("this side has that of this document already: drop it first")]
    Twice,
    /// [`DocumentsOptions::max_open`](crate::DocumentsOptions::max_open).
    #[error("there are {limit} subscriptions and publications, as many as max_open allows")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// [`Documents::close`](crate::Documents::close) was called.
    #[error("the documents were closed by this side")]
    Closed,
}

/// Why a delta is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The hub refused it.
    #[error("the hub refused it: {}", .code.text())]
    Denied {
        /// Why.
        code: DeniedCode,
        /// The position that the document's next delta gets; 0 where that was not told.
        next: u64,
    },
    /// It is longer than may wait for acknowledgement at all.
    #[error(
        "a delta of {len} bytes is longer than the {limit} that max_unacknowledged_bytes lets wait"
    )]
    TooLong {
        /// Bytes of its frame.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// Its fields cannot be written.
    #[error(transparent)]
    Invalid(#[from] WriteError),
    /// The hub keeps nothing but in memory: nothing is ever stored.
    #[error(
        "the hub keeps documents in memory only: nothing is stored, and received is all there is"
    )]
    Volatile,
    /// [`Documents::close`](crate::Documents::close) was called before the hub had acknowledged it.
    #[error("the documents were closed by this side before the hub acknowledged it")]
    Closed,
}

/// Why a link is of no use for documents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttendError {
    /// The node at its other end serves none.
    #[error("the other node serves no documents: it has no hub")]
    NotServed,
    /// Documents have a link already.
    #[error("these documents have a link already: its `attend` still runs")]
    Attended,
    /// The peer broke a rule of documents.
    #[error("the hub sent {0} where it has no place")]
    OutOfPlace(&'static str),
    /// The link has as many senders as it may.
    #[error(transparent)]
    NoMoreSenders(#[from] deltawire_link::NoMoreSenders),
    /// [`Documents::close`](crate::Documents::close) was called.
    #[error("the documents were closed by this side")]
    Closed,
    /// A command cannot be sent at all.
    #[error(transparent)]
    Send(SendError),
}
